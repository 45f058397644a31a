import ByteCoding
import CardData
import Testing

@testable import EMV

struct DataElementTests {
    @Test func everyRowOfTheTableIsRead() {
        let rows = DataElement.table.split(separator: "\n").filter { !$0.allSatisfy { $0 == " " } }
        for row in rows where DataElement(row: row) == nil { Issue.record("\(row) is no row") }
        #expect(DataElement.all.count == rows.count, "a tag stands twice")
        for element in DataElement.all {
            // Tags are as short as they can be, and templates are constructed.
            #expect(BERTag(rawValue: element.tag.rawValue).bytes.count <= 3)
            #expect((element.format == .template) == element.tag.isConstructed, "\(element.tag)")
            #expect(element.templates.allSatisfy { DataElement[$0] != nil }, "\(element.tag)")
        }
    }

    /// EMV 4.4 Book 3, Annex A1.
    @Test(arguments: [
        (
            BERTag(0x9F02), "Amount, authorized (numeric)", DataElement.Format.numeric, 6...6,
            DataElement.Source.terminal
        ),
        (0x5A, "Application primary account number (PAN)", .compressedNumeric, 0...10, .card),
        (0x8A, "Authorization response code (ARC)", .alphanumeric, 2...2, .issuer),
        (0x9F10, "Issuer application data (IAD)", .binary, 0...32, .card),
        (0x5F24, "Application expiration date", .date, 3...3, .card),
    ])
    func rows(
        tag: BERTag, name: String, format: DataElement.Format, lengths: ClosedRange<Int>, source: DataElement.Source
    ) throws {
        let element = try #require(DataElement[tag])
        #expect(element.name == name && element.format == format)
        #expect(element.lengths == lengths && element.source == source)
    }

    @Test(arguments: [
        "", "9F02", "9F02 | x | n | 6-6 | Terminal", "ZZ | x | n | 6 | Terminal |", "9F02 | x | q | 6 | Terminal |",
        "9F02 | x | n | 7-6 | Terminal |", "9F02 | x | n | a | Terminal |", "9F02 | x | n | 6 | Nobody |",
    ])
    func otherRowsAreNone(row: String) { #expect(DataElement(row: row) == nil) }

    @Test func unknownTagsHaveNoRow() { #expect(DataElement[0xDF7F] == nil) }

    /// The bits that other books and notes print as bytes.
    @Test func flagsStandWhereTheBooksHaveThem() {
        #expect(TerminalVerificationResults.offlineAuthenticationNotPerformed.bytes == hex("8000000000"))
        #expect(TerminalVerificationResults.expired.bytes == hex("0040000000"))
        #expect(TerminalVerificationResults.onlinePINEntered.bytes == hex("0000040000"))
        #expect(TerminalVerificationResults.exceedsFloorLimit.bytes == hex("0000008000"))
        #expect(TerminalVerificationResults.issuerAuthenticationFailed.bytes == hex("0000000040"))
        #expect(TransactionStatusInformation.issuerAuthenticationPerformed.bytes == hex("1000"))
        #expect(ApplicationInterchangeProfile.issuerAuthentication.bytes == hex("0400"))
        #expect(ApplicationUsageControl.atOtherTerminals.bytes == hex("0100"))
        #expect(CardStatusUpdate.issuerApproves.bytes == hex("00800000"))
        let capabilities: TerminalCapabilities = [.contactChip, .signature, .noCVM]
        #expect(capabilities.bytes == hex("202800"))
    }

    @Test func flagsKeepBitsWithoutNames() throws {
        let flags = try #require(TerminalVerificationResults(hex("8000000001")))
        #expect(flags.bytes == hex("8000000001"))
        #expect(flags.meanings == ["offline data authentication not performed", "byte 5 bit 1"])
        #expect(flags.description.hasPrefix("8000000001 ("))
        #expect(TerminalVerificationResults(hex("80000000")) == nil)
        #expect(TerminalVerificationResults(hex("800000000000")) == nil)
    }

    @Test(arguments: [
        ("5F24", "301231", "2030-12-31"), ("5F25", "991231", "1999-12-31"), ("9F42", "0936", "GHS"),
        ("5F28", "0288", "GH"),
        ("82", "1C00", "cardholder verification, terminal risk management, issuer authentication"),
        ("9F36", "0012", "18"),
        ("94", "0801020110010100", "file 1 records 1-2 (1 signed); file 2 records 1-1"), ("50", "564953410A", "VISA?"),
        (
            "8E", "0000000000000000 4103 1F00",
            "plaintext PIN to the card if the terminal supports it, else next; no CVM always, else fail"
        ),
        ("8C", "9F02069F3704", "9F02(6) 9F37(4)"), ("9F17", "03", "3 tries left"),
        ("87", "82", "priority 2, to be confirmed"),
        ("9F27", "80", "80 ARQC (online)"), ("9F0E", "0000000000", "none"), ("4F", "A0000000031010", "Visa"),
        ("84", "315041592E5359532E4444463031", "1PAY.SYS.DDF01"), ("5F34", "01", "1"),
    ])
    func meanings(tag: String, value: String, expected: String) throws {
        let raw = try #require(UInt32(tag, radix: 16))
        #expect(BERTLV(BERTag(raw), hex(value)).meaning == expected)
    }

    @Test(arguments: [
        ("5F24", "3012"), ("9F42", "0000"), ("82", "1C"), ("94", "00"), ("8C", "9F"), ("8E", "00"), ("DF7F", "01"),
        ("50", ""),
        ("9F10", "FF"), ("5F28", "0999"),
    ])
    func nonsenseHasNoMeaning(tag: String, value: String) throws {
        let raw = try #require(UInt32(tag, radix: 16))
        let meaning = BERTLV(BERTag(raw), hex(value)).meaning
        // A country or currency that nobody has stays a number.
        #expect(meaning == nil || meaning == "999" || meaning == "0")
    }
}
