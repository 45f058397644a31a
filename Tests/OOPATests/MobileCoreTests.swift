import ByteCoding
import ECardTesting
import Testing

@testable import OOPA

private func schemes(_ ranges: ClosedRange<UInt8>...) -> [UInt8] { ranges.flatMap { Array($0) } }

/// IPA, GSUP and USSD components, against bytes that OsmoHLR 1.5.0 sent or took.
@Suite(.ownThread) struct MobileCoreTests {
    private static let imsi = "901700000000001"
    /// What a telephone dialled (`*713#`), as the register passed it on.
    private static let dialled =
        "002BEE0520010809710000000000F13004200000013101013514A11202010102013B300A04010F0405AA5B6C3602"

    @Test("What a telephone dialled, as a register passed it on")
    func begin() throws {
        let bytes = try #require([UInt8](hex: Self.dialled))
        let (frame, length) = try #require(try IPAFrame.first(in: bytes + [0, 0]))
        #expect(length == bytes.count)
        #expect(frame.stream == .gsup)
        #expect(frame.encoded == bytes)
        let message = try GSUPMessage(frame.payload)
        #expect(message.kind == .supplementaryServiceRequest)
        #expect(message.imsi == Self.imsi)
        #expect(message.session == 0x2000_0001)
        #expect(message.sessionState == .begin)
        let component = try USSDComponent(try #require(message.value(.supplementaryService)))
        #expect(component.kind == .invoke(.process))
        #expect(component.invokeID == 1)
        #expect(component.text?.typed == SecretBytes(Array("*713#".utf8)))
        #expect(
            try GSUPMessage(
                .supplementaryServiceRequest, imsi: Self.imsi, session: 0x2000_0001, state: .begin,
                component: component.encoded
            ).encoded == frame.payload)
    }

    @Test(
        "Components that a register passed on or made",
        arguments: [
            ("A11602010202013C300E04010F0409D070FE078A81F2E539", .invoke(.request), 2, "Pay? 1 yes"),
            ("A210020102300B02013C300604010F040131", .result(.request), 2, "1"),
            ("A213020101300E02013B300904010F0404D0709A0C", .result(.process), 1, "Paid"),
            ("A11B02010202013C3013040148040E0186006B00770061006E0020025B", .invoke(.request), 2, "Ɔkwan ɛ"),
            ("A306020101020112", .error(18), 1, nil),
            ("A203020105", .result(nil), 5, nil),
            ("A406020105800102", .reject(tag: 0x80, code: 2), 5, nil),
            ("A4050500800102", .reject(tag: 0x80, code: 2), nil, nil),
        ] as [(String, USSDComponent.Kind, UInt8?, String?)])
    func components(hex: String, kind: USSDComponent.Kind, invokeID: UInt8?, text: String?) throws {
        let bytes = try #require([UInt8](hex: hex))
        let component = try USSDComponent(bytes)
        #expect(component.kind == kind)
        #expect(component.invokeID == invokeID)
        #expect(component.text?.typed == text.map { SecretBytes(Array($0.utf8)) })
        #expect(component.encoded == bytes)
        if let text { #expect(component.text == USSDComponent.Text(try USSDText(text))) }
    }

    @Test(
        "Components that are none tell where",
        arguments: [
            ("", "one wanted"), ("A100", "invoke ID"), ("A103020101", "operation"), ("A10602010102010A", "10 is none"),
            ("A106020101020203", "USSD component"), ("A1080201010201 3B3000", "USSD component"),
            ("A2080201013003020163", "99 is none"), ("A203050000", "USSD component"),
            ("A50302 0101", "none of A1 to A4"),
            ("A103020101A103020101", "one wanted, 2 found"), ("A180020101", "indefinite"), ("A303020101", "error code"),
            ("A403020101", "no problem"), ("A406020101840100", "no problem"),
            ("A10B02010102013B300302010F", "a data coding scheme and a string"),
        ])
    func badComponents(hex: String, words: String) throws {
        let bytes = try #require([UInt8](hex: hex))
        let error = try #require(#expect(throws: MobileCoreError.self) { try USSDComponent(bytes) })
        #expect("\(error)".contains(words), "\(error)")
    }

    @Test(
        "A data coding scheme says how a text is read (TS 23.038, clause 5)",
        arguments: [
            // The default alphabet: with a language, in the general group, with a class, and whatever is reserved.
            (schemes(0x00...0x0F, 0x20...0x3F), "AA180C3602", "*100#"),
            (schemes(0x40...0x43, 0x4C...0x53, 0x5C...0x5F, 0xF0...0xF3), "AA180C3602", "*100#"),
            (schemes(0x12...0x1F, 0x80...0x8F, 0xA0...0xCF), "AA180C3602", "*100#"),
            // Behind "en" and a carriage return.
            ([0x10], "6577431583C146", "*100#"), ([0x10], "657703", ""), ([0x10], "65B72A06838D1A", nil),
            ([0x10], "6537", nil), ([0x10], "", nil),
            (schemes(0x48...0x4B, 0x58...0x5B), "0041025B", "Aɛ"), ([0x48], "004102", nil),
            // Behind "en" in two octets.
            ([0x11], "65370041025B", "Aɛ"), ([0x11], "6537", ""), ([0x11], "65", nil), ([0x11], "653700", nil),
            // 8 bit data, compressed, behind a header, of another protocol.
            (schemes(0x44...0x47, 0x54...0x57, 0xF4...0xF7), "AA180C3602", nil),
            (schemes(0x60...0x7F, 0x90...0x9F, 0xD0...0xEF), "AA180C3602", nil),
        ] as [([UInt8], String, String?)])
    func codings(codings: [UInt8], hex: String, wanted: String?) throws {
        let octets = try #require([UInt8](hex: hex))
        for scheme in codings {
            let text = USSDComponent.Text(dataCodingScheme: scheme, octets: octets)
            #expect(text.typed == wanted.map { SecretBytes(Array($0.utf8)) }, "\(scheme)")
        }
    }

    @Test("A text beyond 160 octets is refused; what fits behind a register is known")
    func limits() throws {
        let long = USSDComponent.Text(dataCodingScheme: 0x0F, octets: [UInt8](repeating: 0, count: 161))
        let component = USSDComponent(.invoke(.request), invokeID: 1, text: long)
        #expect(throws: MobileCoreError.self) { try USSDComponent(component.encoded) }
        #expect(USSDComponent.portableTextLimit(.invoke(.request)) == 114)
        #expect(USSDComponent.portableTextLimit(.result(.process)) == 112)
        for kind in [USSDComponent.Kind.invoke(.request), .result(.process)] {
            let most = [UInt8](repeating: 0, count: USSDComponent.portableTextLimit(kind))
            let text = USSDComponent.Text(dataCodingScheme: 0x0F, octets: most)
            #expect(USSDComponent(kind, invokeID: 1, text: text).encoded.count == 129)
        }
    }

    @Test(
        "GSUP messages that are cut tell where",
        arguments: ["", "2001", "200108097100", "20010809710000000000F130"])
    func badMessages(hex: String) throws {
        let bytes = try #require([UInt8](hex: hex))
        #expect(throws: MobileCoreError.self) { try GSUPMessage(bytes) }
    }

    @Test(
        "An IMSI is 1 to 15 digits",
        arguments: [
            ("", false), ("1", true), ("901700000000001", true), ("9017000000000012", false), ("90170x", false),
        ])
    func imsi(imsi: String, isTaken: Bool) throws {
        let message = try? GSUPMessage(
            .supplementaryServiceResult, imsi: imsi, session: 1, state: .end, component: nil)
        #expect((message != nil) == isTaken)
        if let message { #expect(try GSUPMessage(message.encoded).imsi == imsi) }
        #expect(((try? SubscriberInquiry(imsi: imsi, number: 1)) != nil) == isTaken)
    }

    @Test("Connection management, as a register says it and takes it")
    func management() throws {
        let request = try #require([UInt8](hex: "0401080107010201030104010501010100"))
        #expect(try IPAManagement(request) == .identityRequest([8, 7, 2, 3, 4, 5, 1, 0]))
        #expect(try IPAManagement(request).frame.payload == request)
        let identity = IPAManagement.identity([
            .init(tag: IPAManagement.unitIdentifier, text: "0/0/0"),
            .init(tag: IPAManagement.serialNumber, text: "EUSE-e"),
        ])
        #expect(identity.frame.encoded.hex == "0014FE05000708302F302F3000000800455553452D6500")
        #expect(try IPAManagement(identity.frame.payload) == identity)
        for (byte, message) in [(0, .ping), (1, .pong), (6, .identityAcknowledge)] as [(UInt8, IPAManagement)] {
            #expect(try IPAManagement([byte]) == message)
        }
        for bad in ["", "07", "0400", "0405", "0500", "05000008", "05000508"] {
            let bytes = try #require([UInt8](hex: bad))
            #expect(throws: MobileCoreError.self) { try IPAManagement(bytes) }
        }
    }

    @Test("A frame comes in pieces, and one that is too long or empty ends the connection")
    func frames() throws {
        let frame = IPAFrame(.gsup, [1, 2, 3])
        for count in 0..<frame.encoded.count {
            #expect(try IPAFrame.first(in: frame.encoded.prefix(count)) == nil)
        }
        #expect(throws: MobileCoreError.self) { try IPAFrame.first(in: [0xFF, 0xFF, 0xFE]) }
        #expect(throws: MobileCoreError.self) { try IPAFrame.first(in: [0, 0, 0xEE]) }
    }

    @Test(
        "What a register says about a subscriber",
        arguments: [
            (
                "GET_REPLY 7 subscriber.by-imsi-901700000000001.info \nid\t1\nimsi\t901700000000001\nmsisdn\t233201234567\nnam_cs\t1",
                "+233201234567"
            ),
            ("GET_REPLY 7 subscriber.by-imsi-901700000000001.info \nid\t1\nimsi\t901700000000001", nil),
        ] as [(String, String?)])
    func subscriber(answer: String, phone: String?) throws {
        let inquiry = try SubscriberInquiry(imsi: Self.imsi, number: 7)
        #expect(inquiry.frame.payload == Array("GET 7 subscriber.by-imsi-901700000000001.info".utf8))
        let found = try inquiry.answer(in: IPAFrame(.control, Array(answer.utf8)))
        #expect(try #require(found).phone == phone)
    }

    @Test(
        "What is no answer to an inquiry, and what is a wrong one",
        arguments: [
            ("GET_REPLY 8 subscriber.by-imsi-901700000000001.info \nmsisdn\t233201234567", false),
            ("TRAP 7 x y", false), ("", false), ("GET_REPLY", false),
            ("ERROR 7 No such subscriber.", true),
            ("GET_REPLY 7 subscriber.by-imsi-901700000000002.info \nmsisdn\t233201234567", true),
            ("GET_REPLY 7 subscriber.by-imsi-901700000000001.info \nmsisdn\t+233", true),
            ("GET_REPLY 7 subscriber.by-imsi-901700000000001.info \nmsisdn\t12345678901234567", true),
        ])
    func badSubscribers(answer: String, isError: Bool) throws {
        let inquiry = try SubscriberInquiry(imsi: Self.imsi, number: 7)
        let frame = IPAFrame(.control, Array(answer.utf8))
        if isError {
            #expect(throws: MobileCoreError.self) { try inquiry.answer(in: frame) }
        } else {
            #expect(try inquiry.answer(in: frame) == nil)
        }
    }
}
