import ByteCoding
import Issuing
import KeyCustody
import PKCS11

/// Text that people write: token URIs, tables, card profiles.
extension FuzzTarget {
    static let uri = FuzzTarget("uri", limit: 1024) { bytes in
        guard let text = String(validating: bytes, as: UTF8.self) else { return }
        let uri: PKCS11URI
        do throws(KeyStoreError) {
            uri = try PKCS11URI(text)
        } catch {
            return try require(!secrets(in: text).contains { "\(error)".contains($0) }, "the error repeats a PIN")
        }
        let again = written(uri)
        try require((try? PKCS11URI(again)) == uri, "'\(again)' reads as another URI")
        if case .file(let path)? = try? uri.pin() {
            try require(path.hasPrefix("/"), "pin-source '\(path)' is relative")
        }
    }

    /// What stands behind `pin-value=`, but for words that the errors use themselves.
    private static func secrets(in text: String) -> [Substring] {
        let words = ["", "pkcs11:?pin-value="].compactMap { text in
            do throws(KeyStoreError) { return try PKCS11URI(text).token } catch { return "\(error)" }
        }
        return text.split(whereSeparator: { "?&;".contains($0) }).filter { $0.hasPrefix("pin-value=") }
            .map { $0.dropFirst(10) }
            .filter { secret in secret.utf8.count >= 8 && !words.contains { $0.contains(secret) } }
    }

    /// The URI with every byte of every value percent-encoded.
    private static func written(_ uri: PKCS11URI) -> String {
        func encoded(_ bytes: [UInt8]) -> String { bytes.map { "%" + [$0].hex }.joined() }
        let known: [(String, String?)] = [
            ("token", uri.token), ("manufacturer", uri.manufacturer), ("serial", uri.serial), ("model", uri.model),
            ("library-manufacturer", uri.libraryManufacturer), ("library-description", uri.libraryDescription),
            ("library-version", uri.libraryVersion), ("slot-manufacturer", uri.slotManufacturer),
            ("slot-description", uri.slotDescription), ("slot-id", uri.slotID.map { String($0) }),
            ("object", uri.object), ("type", uri.type?.rawValue),
        ]
        var path = (known.compactMap { name, value in value.map { (name, $0) } } + uri.otherPathAttributes)
            .map { $0.0 + "=" + encoded(Array($0.1.utf8)) }
        if let id = uri.id { path.append("id=" + encoded(id)) }
        let queries: [(String, String?)] = [
            ("module-path", uri.modulePath), ("module-name", uri.moduleName), ("pin-source", uri.pinSource),
        ]
        let query = (queries.compactMap { name, value in value.map { (name, $0) } } + uri.otherQueryAttributes)
            .map { $0.0 + "=" + encoded(Array($0.1.utf8)) }
        return "pkcs11:" + path.joined(separator: ";") + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
    }

    static let csv = FuzzTarget("csv", limit: 16_384) { bytes in
        let reader: CSVReader
        do throws(CSVError) { reader = try CSVReader(bytes) } catch { return }
        let lines = bytes.count { $0 == 0x0A } + 1
        var last = 0
        var records: [[String]] = []
        var hasFailed = false
        for result in reader {
            switch result {
            case .success(let record):
                try require(record.line > last && record.line <= lines, "record of line \(record.line) behind \(last)")
                try require((1...CSVReader.columnLimit).contains(record.fields.count), "\(record.fields.count) fields")
                for field in record.fields {
                    try require(
                        field.text.utf8.count <= CSVReader.fieldLimit, "a field of \(field.text.utf8.count) bytes")
                    try require(field.line >= record.line && field.line <= lines && field.column > 0, "a field's place")
                }
                last = record.line
                records.append(record.fields.map(\.text))
            case .failure(let error):
                try require((1...lines).contains(error.line) && error.column > 0, "\(error): there are \(lines) lines")
                hasFailed = true
            }
        }
        guard !hasFailed else { return }
        // An only field that is empty would be an empty line, which is no record.
        let whole = records.filter { $0 != [""] }
        let text = whole.map(CSVRecord.line).joined()
        let again = try CSVReader(Array(text.utf8)).map { try $0.get().fields.map(\.text) }
        try require(again == whole, "the records do not come back")
    }

    static let profile = FuzzTarget("profile", limit: 8192) { bytes in
        guard let text = String(validating: bytes, as: UTF8.self) else { return }
        let profile: CardProfile
        do {
            profile = try CardProfile(yaml: text, file: "profile.yaml")
        } catch let error as IssuingError {
            // The place is `profile.yaml:LINE`; a line behind the last one is where a document ends too early.
            let place = error.description.split(separator: "profile.yaml:").last?.prefix { $0.isNumber }
            let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).count
            return try require((1...lines + 1).contains(Int(place ?? "") ?? 0), "\(error): there are \(lines) lines")
        }
        try require((5...16).contains(profile.aid.count), "an AID of \(profile.aid.count) bytes")
        try require((12...19).contains(profile.panLength), "PANs of \(profile.panLength) digits")
        try require(
            profile.cvmList.count % 2 == 0 && profile.cvmList.count <= 252, "a CVM list of \(profile.cvmList.count)")
        let forbidden: Set<BERTag> = [0x56, 0x9F20, 0x9F60, 0x9F61, 0x9F62, 0x9F63, 0x9F6B]
        try require(
            forbidden.isDisjoint(with: profile.records.flatMap(\.tags) + profile.extras.keys),
            "a profile with a place for a card value")
        try require(profile.records.flatMap(\.tags).allSatisfy { $0 != 0 }, "a record with no tag")
    }
}
