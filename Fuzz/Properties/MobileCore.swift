import OOPA

/// What a home location register and the telephones behind it send: IPA, GSUP, USSD components.
extension FuzzTarget {
    static let ipa = FuzzTarget("ipa") { bytes in
        var rest = bytes[...]
        while true {
            let found: (frame: IPAFrame, length: Int)?
            do throws(MobileCoreError) { found = try IPAFrame.first(in: rest) } catch {
                return try require(!error.description.isEmpty, "an error without words")
            }
            guard let (frame, length) = found else { break }
            try require(frame.encoded == Array(rest.prefix(length)), "a frame does not come back")
            try require(frame.payload.count <= IPAFrame.payloadLimit, "a frame of \(frame.payload.count) bytes")
            // Every beginning of it is not whole, rather than wrong.
            try require(try IPAFrame.first(in: rest.prefix(length - 1)) == nil, "a part is taken for the whole")
            try management(frame)
            try gsup(frame)
            try control(frame)
            rest = rest.dropFirst(length)
        }
    }

    private static func management(_ frame: IPAFrame) throws {
        guard frame.stream == .management, let message = try? IPAManagement(frame.payload) else { return }
        let again = try IPAManagement(message.frame.payload)
        try require(again == message, "a management message does not come back")
    }

    private static func gsup(_ frame: IPAFrame) throws {
        guard frame.stream == .gsup, let message = try? GSUPMessage(frame.payload) else { return }
        try require(message.encoded == frame.payload, "a GSUP message does not come back")
        if let imsi = message.imsi, let session = message.session, let state = message.sessionState {
            let made = try GSUPMessage(
                message.kind, imsi: imsi, session: session, state: state,
                component: message.value(.supplementaryService))
            try require(
                made.imsi == imsi && made.session == session && made.sessionState == state,
                "what was read cannot be written")
        }
    }

    private static func control(_ frame: IPAFrame) throws {
        let inquiry = try SubscriberInquiry(imsi: "901700000000001", number: 1)
        guard let phone = try? inquiry.answer(in: frame)?.phone else { return }
        try require(
            phone.first == "+" && (8...16).contains(phone.count)
                && phone.dropFirst().allSatisfy { ("0"..."9").contains($0) },
            "'\(phone)' is taken for a telephone")
    }

    static let ussdComponent = FuzzTarget("ussd-component", limit: 512) { bytes in
        guard let component = try? USSDComponent(bytes) else { return }
        try require(try USSDComponent(component.encoded) == component, "a component does not come back")
        try require(component.encoded.count <= max(bytes.count, 3), "\(bytes.count) bytes became more")
        if let text = component.text {
            try require(text.octets.count <= USSDComponent.textLimit, "a text of \(text.octets.count) bytes")
        }
    }
}
