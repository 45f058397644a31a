import ByteCoding
import SmartCard

/// A payment application's personalized data, read once at SELECT.
struct PaymentProfile {
    /// Application interchange profile (AIP), tag 82, 2 bytes.
    let interchangeProfile: [UInt8]
    /// Application file locator (AFL), tag 94, four bytes a file.
    let fileLocator: [UInt8]
    /// Processing options data object list (PDOL), tag 9F38; empty in most profiles.
    let processingOptionsList: DOL
    /// Card risk management data object lists (CDOL1, CDOL2), tags 8C and 8D.
    let riskList1, riskList2: DOL
    /// Issuer application data (IAD), tag 9F10: `06`, derivation key index, cryptogram version, CVR.
    let issuerApplicationData: [UInt8]
    let limits: OfflineLimits

    /// The only cryptogram version there is (VIS 1.5, Appendix D; EMV Book 2, 8.1).
    static let cryptogramVersion: UInt8 = 18

    /// What the cryptogram covers of the terminal's data, in this order.
    static let cryptogramTags: [(tag: BERTag, length: Int)] = [
        (0x9F02, 6), (0x9F03, 6), (0x9F1A, 2), (0x95, 5), (0x5F2A, 2), (0x9A, 3), (0x9C, 1), (0x9F37, 4),
    ]

    /// - Throws: 6985 when something is missing or does not fit.
    init(_ memory: AppletMemory) throws {
        let refusal = Refusal(.conditionsNotSatisfied)
        let options = try memory.parsed(.processingOptions)
        let issuerData = try memory.parsed(.issuerApplicationData)
        guard let aip = options.first(0x82)?.value, aip.count == 2, let afl = options.first(0x94)?.value,
            let iad = issuerData.first(0x9F10)?.value, iad.count == 7, iad[0] == 6, iad[2] == Self.cryptogramVersion,
            iad[3] == 3
        else { throw refusal }
        interchangeProfile = aip
        fileLocator = afl
        issuerApplicationData = iad
        let records = try PaymentProfile.records(afl, memory)
        guard let list1 = records.first(0x8C).flatMap({ try? DOL($0.value) }),
            let list2 = records.first(0x8D).flatMap({ try? DOL($0.value) }),
            Self.cryptogramTags.allSatisfy({ wanted in
                list1.entries.contains { $0.tag == wanted.tag && $0.length == wanted.length }
                    && list2.entries.allSatisfy { $0.tag != wanted.tag || $0.length == wanted.length }
            })
        else { throw refusal }
        riskList1 = list1
        riskList2 = list2
        guard let list = try? DOL(try memory.proprietaryTemplate().first(0x9F38)?.value ?? []) else { throw refusal }
        processingOptionsList = list
        limits = try OfflineLimits(memory)
    }

    /// The records that an AFL names, all of which must be there (EMV Book 3, 10.2).
    private static func records(_ locator: [UInt8], _ memory: AppletMemory) throws -> [BERTLV] {
        let refusal = Refusal(.conditionsNotSatisfied)
        guard !locator.isEmpty, locator.count % 4 == 0 else { throw refusal }
        var records: [BERTLV] = []
        for start in stride(from: 0, to: locator.count, by: 4) {
            let (file, first, last) = (locator[start] >> 3, locator[start + 1], locator[start + 2])
            guard locator[start] & 0x07 == 0, first >= 1, first <= last, locator[start + 3] <= last - first + 1 else {
                throw refusal
            }
            for number in first...last {
                guard let record = memory.record(file: file, number: number) else { throw refusal }
                records += try BERTLV.parse(record)
            }
        }
        return records
    }
}

/// How much may be approved without the issuer (DGI 3000).
struct OfflineLimits {
    /// Tag 9F51, ISO 4217 numeric, 2 bytes; empty where none is personalized.
    let currency: [UInt8]
    /// Tag 9F54, n 12, minor units.
    let amount: UInt64
    /// Tag 9F58, number of transactions.
    let transactions: UInt8

    init(_ memory: AppletMemory) throws {
        let objects = memory.groupings[.riskData] == nil ? [] : try memory.parsed(.riskData)
        currency = objects.first(0x9F51)?.value ?? []
        let limit = objects.first(0x9F54)?.value ?? []
        guard currency.count <= 2, limit.count <= 6, let amount = limit.isEmpty ? 0 : BCD.number(limit),
            let transactions = UInt8(bigEndian: objects.first(0x9F58)?.value ?? [])
        else { throw Refusal(.conditionsNotSatisfied) }
        self.amount = UInt64(amount)
        self.transactions = transactions
    }

    /// Whether one more offline approval is within the limits.
    func allow(amount wanted: UInt64, currency wantedCurrency: [UInt8], after counters: AppletCounters) -> Bool {
        let (sum, overflow) = counters.cumulativeOffline.addingReportingOverflow(wanted)
        return wantedCurrency == currency && !overflow && sum <= amount && counters.consecutiveOffline < transactions
    }
}

extension AppletMemory {
    /// The objects of a grouping.
    /// - Throws: 6985 when it is missing or malformed.
    fileprivate func parsed(_ grouping: DataGrouping) throws -> [BERTLV] {
        guard let data = groupings[grouping], let objects = try? BERTLV.parse(data) else {
            throw Refusal(.conditionsNotSatisfied)
        }
        return objects
    }
}
