import ByteCoding
import OOPA

/// What telephones and their gateways send.
extension FuzzTarget {
    static let gsm7 = FuzzTarget("gsm7", limit: 512) { bytes in
        let septets = bytes.map { $0 & 0x7F }
        let octets = GSM7.pack(septets)
        let filled = septets.count % 8 == 0 && septets.last == 0x0D ? septets + [0x0D] : septets
        try require(GSM7.unpack(octets) == filled, "the septets do not come back")
        try require(octets.count <= septets.count * 7 / 8 + 1, "\(octets.count) octets for \(septets.count) septets")
        // Any octets are a text, and what that text becomes reads the same.
        let text = GSM7.decode(GSM7.unpack(bytes))
        guard let again = GSM7.encode(text) else { throw Violation("decoding made what encoding lacks") }
        try require(GSM7.decode(again) == text, "the text does not come back")
        guard let fits = try? USSDText(text) else { return }
        try require(fits.octets.count <= 160, "\(fits.octets.count) octets on one screen")
    }

    static let africastalking = callbacks("africastalking", of: AfricasTalking.self)
    static let arkesel = callbacks("arkesel", of: Arkesel.self)
    static let hubtel = callbacks("hubtel", of: Hubtel.self)

    /// A request is read whole, or refused without a word of it in the error.
    private static func callbacks(_ name: String, of gateway: any USSDGateway.Type) -> FuzzTarget {
        FuzzTarget(name, limit: 8400) { bytes in
            let request: USSDRequest
            do {
                request = try gateway.request(from: bytes, contentType: nil)
            } catch let error as USSDRequestError {
                try require(error.gateway == name && !error.place.isEmpty, "\(error): the place")
                // The longest place is a field's name of ours: nothing that was sent is in it.
                return try require("\(error)".utf8.count <= 160, "\(error)")
            }
            try require(MSISDN.normalized(request.phone) == request.phone, "\(request.phone) is not normal")
            try require(
                (1...128).contains(request.session.utf8.count), "a session of \(request.session.utf8.count) bytes")
            try require(request.text.count <= bytes.count, "a text longer than its body")
            let answer = USSDAnswer(text: try USSDText("Pay \"A\"\n1 GHS"), continues: request.kind != .end)
            let body = gateway.response(to: request, with: answer).body
            try require(!body.isEmpty && String(validating: body, as: UTF8.self) != nil, "an answer that is no text")
        }
    }
}
