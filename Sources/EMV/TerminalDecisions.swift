import ByteCoding
import CardData

/// What a terminal works out by itself between the card's records and the first GENERATE AC (EMV 4.4 Book 3, 10.4 to
/// 10.7). Every function records its findings in the TVR; none talks to the card.
extension TransactionData {
    /// Version, usage control, dates (10.4).
    mutating func checkRestrictions(_ profile: TerminalProfile) throws(TerminalError) {
        if let version = self[0x9F08], version != profile.applicationVersion.bigEndianBytes {
            tvr.insert(.differentVersions)
        }
        if let value = self[0x9F07], let control = ApplicationUsageControl(value) {
            if !allows(control) { tvr.insert(.serviceNotAllowed) }
        }
        guard let today = date(terminal[0x9A]) else { return }
        if let value = self[0x5F25] {
            guard let effective = date(value) else { throw malformedDate(0x5F25) }
            if effective > today { tvr.insert(.notYetEffective) }
        }
        guard let expiration = date(try required(0x5F24, at: .records)) else { throw malformedDate(0x5F24) }
        if expiration < today { tvr.insert(.expired) }
    }

    /// A purchase of goods or services at a merchant's terminal (10.4.2). Domestic and international are told apart
    /// only where the card names its issuer's country.
    private func allows(_ control: ApplicationUsageControl) -> Bool {
        guard control.contains(.atOtherTerminals) else { return false }
        guard let country = self[0x5F28] else { return true }
        return country == terminal[0x9F1A]
            ? !control.isDisjoint(with: [.domesticGoods, .domesticServices])
            : !control.isDisjoint(with: [.internationalGoods, .internationalServices])
    }

    /// `YYMMDD` as a number that sorts: years 50 to 99 are of the last century (EMV 4.4 Book 4, 6.7.3).
    private func date(_ bytes: [UInt8]?) -> Int64? {
        guard let bytes, bytes.count == 3, let number = BCD.number(bytes), (1...12).contains(number / 100 % 100),
            (1...31).contains(number % 100)
        else { return nil }
        return number + (number >= 500_000 ? 19_000_000 : 20_000_000)
    }

    private func malformedDate(_ tag: BERTag) -> TerminalError {
        TerminalError(.records, .malformed(tag, "no date YYMMDD"))
    }

    /// Cardholder verification (10.5), by the methods of the profile: signature and none. Our secret code goes to the
    /// issuer by another way and is no CVM of the card.
    mutating func verifyCardholder(_ profile: TerminalProfile, _ aip: ApplicationInterchangeProfile)
        throws(TerminalError)
    {
        guard aip.contains(.cardholderVerification) else { return }
        guard let value = self[0x8E] else {
            tvr.insert(.cardDataMissing)
            return
        }
        guard let list = CVMList(value) else {
            throw TerminalError(.records, .malformed(0x8E, "two amounts and whole rules wanted"))
        }
        guard !list.rules.isEmpty else {
            tvr.insert(.cardDataMissing)
            return
        }
        tsi.insert(.cardholderVerificationPerformed)
        cvmResults = CVMResults(code: 0x3F, condition: 0, outcome: .failed)
        for rule in list.rules where applies(rule, of: list, profile) {
            let outcome = perform(rule.method, profile)
            cvmResults = CVMResults(code: rule.code, condition: rule.condition, outcome: outcome)
            if outcome != .failed { return }
            // A rule that says "fail" ends the list whatever its bit 7: of two readings, the one that fails.
            if rule.method == .fail || !rule.appliesNextOnFailure { break }
        }
        tvr.insert(.cardholderVerificationFailed)
    }

    /// Whether a rule's condition holds for a purchase (Annex C3, Table 44).
    private func applies(_ rule: CVMRule, of list: CVMList, _ profile: TerminalProfile) -> Bool {
        let inCurrency = self[0x9F42].map { $0 == terminal[0x5F2A] } ?? false
        let amount = terminal[0x9F02].flatMap { BCD.number($0) } ?? 0
        switch rule.condition {
        case 0x00, 0x02: return true
        case 0x03: return rule.method.requires.map { profile.capabilities.isSuperset(of: $0) } ?? false
        case 0x06: return inCurrency && amount < Int64(list.amountX)
        case 0x07: return inCurrency && amount > Int64(list.amountX)
        case 0x08: return inCurrency && amount < Int64(list.amountY)
        case 0x09: return inCurrency && amount > Int64(list.amountY)
        default: return false
        }
    }

    private mutating func perform(_ method: CVMMethod, _ profile: TerminalProfile) -> CVMResults.Outcome {
        guard let needed = method.requires else {
            tvr.insert(.unrecognizedCVM)
            return .failed
        }
        guard profile.capabilities.isSuperset(of: needed), !method.usesPIN else {
            if method.usesPIN { tvr.insert(.noPINPad) }
            return .failed
        }
        switch method {
        case .noCVM: return .successful
        // The attendant compares it after the payment (EMV 4.4 Book 4, 6.3.4.4).
        case .signature: return .unknown
        default: return .failed
        }
    }

    /// Floor limit (10.6.1). Random selection serves floor limits above zero and this kernel sends every payment
    /// online, so neither it nor the consecutive offline limits decide anything here.
    mutating func manageRisk(_ profile: TerminalProfile) {
        let amount = terminal[0x9F02].flatMap { BCD.number($0) } ?? 0
        if amount >= Int64(profile.floorLimit) { tvr.insert(.exceedsFloorLimit) }
        tsi.insert(.terminalRiskManagementPerformed)
    }

    /// Terminal action analysis before the first GENERATE AC (10.7): which cryptogram to ask for.
    func firstRequest(_ profile: TerminalProfile) -> CryptogramType {
        if matches(0x9F0E, absent: [], profile.denialActions) { return .aac }
        return matches(0x9F0F, absent: .all, profile.onlineActions) ? .arqc : .tc
    }

    /// The same when the issuer cannot be reached.
    func offlineRequest(_ profile: TerminalProfile) -> CryptogramType {
        matches(0x9F0D, absent: .all, profile.defaultActions) ? .aac : .tc
    }

    /// Whether a result of the TVR stands in the card's or the terminal's action code. An issuer action code that is
    /// absent is zeros for denial and ones for the others.
    private func matches(
        _ tag: BERTag, absent: TerminalVerificationResults, _ actions: TerminalVerificationResults
    ) -> Bool {
        let issuer = self[tag].flatMap { TerminalVerificationResults($0) } ?? absent
        return !tvr.isDisjoint(with: issuer.union(actions))
    }
}

extension TerminalVerificationResults {
    static let all = TerminalVerificationResults(rawValue: 0xFF_FFFF_FFFF)
}
