import ByteCoding
public import KeyCustody

/// A `pkcs11:` URI (RFC 7512): what names a token, and where its module and PIN are.
///
/// An attribute that is absent matches everything. `pin-value` is refused: a PIN in a command line or a configuration
/// file is known to everybody who reads either.
public struct PKCS11URI: Hashable, Sendable {
    // Path attributes: RFC 7512, table 1.
    /// `token`: the token's label.
    public private(set) var token: String?
    /// `manufacturer`: the token's maker.
    public private(set) var manufacturer: String?
    /// `serial`
    public private(set) var serial: String?
    /// `model`
    public private(set) var model: String?
    /// `library-manufacturer`
    public private(set) var libraryManufacturer: String?
    /// `library-description`
    public private(set) var libraryDescription: String?
    /// `library-version`, `2.6`; a number alone means `.0`.
    public private(set) var libraryVersion: String?
    /// `slot-manufacturer`
    public private(set) var slotManufacturer: String?
    /// `slot-description`
    public private(set) var slotDescription: String?
    /// `slot-id`. Read, and refused when a token is chosen: slots are numbered anew at any time.
    public private(set) var slotID: UInt?
    /// `object`: label of a key.
    public private(set) var object: String?
    /// `type` of an object.
    public private(set) var type: ObjectType?
    /// `id` of an object, bytes.
    public private(set) var id: [UInt8]?
    /// Path attributes that RFC 7512 does not define, decoded.
    public private(set) var otherPathAttributes: [String: String] = [:]

    // Query attributes: RFC 7512, table 2.
    /// `module-path`: the module's file.
    public private(set) var modulePath: String?
    /// `module-name`: the module's name without `lib` and `.so`.
    public private(set) var moduleName: String?
    /// `pin-source`: where the PIN is.
    public private(set) var pinSource: String?
    /// Query attributes that RFC 7512 does not define, decoded; they change nothing here.
    public private(set) var otherQueryAttributes: [String: String] = [:]

    /// `type` (RFC 7512, 2.3).
    public enum ObjectType: String, Hashable, Sendable {
        case publicKey = "public"
        case privateKey = "private"
        case certificate = "cert"
        case secretKey = "secret-key"
        case data
    }

    /// Reads a URI.
    ///
    /// - Throws: ``KeyStoreError`` `.invalidArgument`, saying at which byte.
    public init(_ text: String) throws(KeyStoreError) {
        var reader = Reader(text)
        guard reader.takeScheme() else {
            throw reader.error("it does not begin with 'pkcs11:'", at: 0)
        }
        while let attribute = try reader.next(in: .path) { try set(attribute, reader) }
        while let attribute = try reader.next(in: .query) { try set(attribute, reader) }
    }

    /// The PIN's source, when `pin-source` is a file: a path or a `file:` URI.
    public func pin() throws(KeyStoreError) -> PINSource? {
        guard let pinSource else { return nil }
        let isFileURI = pinSource.lowercased().hasPrefix("file:")
        var path = isFileURI ? Substring(pinSource.dropFirst(5)) : Substring(pinSource)
        if isFileURI, path.hasPrefix("//") { path = path.dropFirst(2).drop { $0 != "/" } }
        guard path.hasPrefix("/") else {
            throw KeyStoreError(
                .invalidArgument, call: "read pin-source '\(pinSource)'",
                advice: "Only a file is taken, by its absolute path or as a file: URI")
        }
        return .file(String(path))
    }
}

extension PKCS11URI {
    private mutating func set(_ attribute: Reader.Attribute, _ reader: Reader) throws(KeyStoreError) {
        func text() throws(KeyStoreError) -> String {
            guard let text = String(validating: attribute.value, as: UTF8.self) else {
                throw reader.error("the value of '\(attribute.name)' is no UTF-8", at: attribute.offset)
            }
            return text
        }
        let field: WritableKeyPath<PKCS11URI, String?>
        switch (attribute.part, attribute.name) {
        case (.path, "token"): field = \.token
        case (.path, "manufacturer"): field = \.manufacturer
        case (.path, "serial"): field = \.serial
        case (.path, "model"): field = \.model
        case (.path, "library-manufacturer"): field = \.libraryManufacturer
        case (.path, "library-description"): field = \.libraryDescription
        case (.path, "library-version"): field = \.libraryVersion
        case (.path, "slot-manufacturer"): field = \.slotManufacturer
        case (.path, "slot-description"): field = \.slotDescription
        case (.path, "object"): field = \.object
        case (.query, "module-path"): field = \.modulePath
        case (.query, "module-name"): field = \.moduleName
        case (.query, "pin-source"): field = \.pinSource
        case (.query, "pin-value"):
            throw KeyStoreError(
                .invalidArgument, call: "read pkcs11: URI",
                advice: "'pin-value' is not taken, because others can read what is in a command line or a "
                    + "configuration. Put the PIN in a file of mode 0600 and name it by 'pin-source=file:/…'")
        case (.path, "id"):
            guard id == nil else { throw reader.repeated(attribute) }
            id = attribute.value
            return
        case (.path, "type"):
            guard type == nil else { throw reader.repeated(attribute) }
            let name = try text()
            guard let known = ObjectType(rawValue: name) else {
                throw reader.error("'\(name)' is no type of object", at: attribute.offset)
            }
            type = known
            return
        case (.path, "slot-id"):
            guard slotID == nil else { throw reader.repeated(attribute) }
            guard let number = UInt(try text()) else {
                throw reader.error("slot-id is no number", at: attribute.offset)
            }
            slotID = number
            return
        case (.path, let name):
            guard otherPathAttributes.updateValue(try text(), forKey: name) == nil else {
                throw reader.repeated(attribute)
            }
            return
        case (.query, let name):
            // Of these RFC 7512, 2.3, allows several by one name; the last counts.
            otherQueryAttributes[name] = try text()
            return
        }
        guard self[keyPath: field] == nil else { throw reader.repeated(attribute) }
        self[keyPath: field] = try text()
    }

    /// What is wanted of a token, its slot and its library, by the attributes' names.
    var wanted: [(name: String, value: String)] {
        let version = libraryVersion.map { $0.contains(".") ? $0 : $0 + ".0" }
        let all: [(String, String?)] = [
            ("token", token), ("serial", serial), ("model", model), ("manufacturer", manufacturer),
            ("library-manufacturer", libraryManufacturer), ("library-description", libraryDescription),
            ("library-version", version), ("slot-manufacturer", slotManufacturer),
            ("slot-description", slotDescription),
        ]
        return all.compactMap { name, value in value.map { (name, $0) } }
    }

    /// Whether every attribute that describes tokens, slots or libraries agrees.
    func matches(_ token: TokenInfo, of module: PKCS11Module.Info) -> Bool {
        let actual = [
            "token": token.label, "serial": token.serial, "model": token.model, "manufacturer": token.manufacturer,
            "library-manufacturer": module.manufacturer, "library-description": module.description,
            "library-version": module.version, "slot-manufacturer": token.slotManufacturer,
            "slot-description": token.slotDescription,
        ]
        return wanted.allSatisfy { actual[$0.name] == $0.value }
    }

    /// Refuses what cannot choose a token reliably.
    func requireChoosable() throws(KeyStoreError) {
        if slotID != nil {
            throw KeyStoreError(
                .invalidArgument, call: "choose a token by pkcs11: URI",
                advice: "'slot-id' does not name a token, since slots are numbered anew at any time: use 'token=' or "
                    + "'serial='")
        }
        if let name = otherPathAttributes.keys.min() {
            throw KeyStoreError(
                .tokenNotFound, call: "choose a token by pkcs11: URI",
                advice: "The path attribute '\(name)' is not known here, so no token can be said to match: leave it out"
            )
        }
    }
}

/// Takes a URI apart by the grammar of RFC 7512, 2.3.
private struct Reader {
    enum Part { case path, query }

    struct Attribute {
        let part: Part
        let name: String
        let value: [UInt8]
        let offset: Int
    }

    private let bytes: [UInt8]
    private var position = 0

    init(_ text: String) { bytes = Array(text.utf8) }

    mutating func takeScheme() -> Bool {
        let scheme = Array("pkcs11:".utf8)
        // The scheme's letters may be of either case (RFC 3986, 3.1).
        guard bytes.count >= scheme.count, zip(bytes, scheme).allSatisfy({ $0 | 0x20 == $1 | 0x20 }) else {
            return false
        }
        position = scheme.count
        return true
    }

    /// The next attribute of `part`, or `nil` at its end.
    mutating func next(in part: Part) throws(KeyStoreError) -> Attribute? {
        if part == .query, position < bytes.count, bytes[position] == UInt8(ascii: "?") { position += 1 }
        let separator = part == .path ? UInt8(ascii: ";") : UInt8(ascii: "&")
        if position < bytes.count, bytes[position] == separator { position += 1 }
        let offset = position
        if position == bytes.count || (part == .path && bytes[position] == UInt8(ascii: "?")) { return nil }
        let name = try takeName()
        return Attribute(part: part, name: name, value: try takeValue(part, separator), offset: offset)
    }

    private mutating func takeName() throws(KeyStoreError) -> String {
        let start = position
        while position < bytes.count, isUnreserved(bytes[position]), bytes[position] != UInt8(ascii: "."),
            bytes[position] != UInt8(ascii: "~")
        {
            position += 1
        }
        let name = String(decoding: bytes[start..<position], as: UTF8.self)
        guard !name.isEmpty, position < bytes.count, bytes[position] == UInt8(ascii: "=") else {
            throw error("an attribute 'name=value' is expected", at: start)
        }
        position += 1
        return name
    }

    private mutating func takeValue(_ part: Part, _ separator: UInt8) throws(KeyStoreError) -> [UInt8] {
        let alsoAllowed = Array((part == .path ? ":[]@!$'()*+,=&" : ":[]@!$'()*+,=/?|").utf8)
        var value: [UInt8] = []
        while position < bytes.count, bytes[position] != separator {
            let byte = bytes[position]
            if part == .path, byte == UInt8(ascii: "?") { break }
            if byte == UInt8(ascii: "%") {
                let digits = bytes[position...].dropFirst().prefix(2)
                guard digits.count == 2, let decoded = [UInt8](hex: String(decoding: digits, as: UTF8.self)),
                    decoded.count == 1
                else { throw error("'%' is not followed by two hexadecimal digits", at: position) }
                value += decoded
                position += 3
            } else {
                guard isUnreserved(byte) || alsoAllowed.contains(byte) else {
                    throw error("a character that must be percent-encoded", at: position)
                }
                value.append(byte)
                position += 1
            }
        }
        return value
    }

    private func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            true
        default: false
        }
    }

    func repeated(_ attribute: Attribute) -> KeyStoreError {
        error("'\(attribute.name)' stands twice", at: attribute.offset)
    }

    /// Names the place, never the text: a PIN may be in it.
    func error(_ what: String, at offset: Int) -> KeyStoreError {
        KeyStoreError(
            .invalidArgument, call: "read pkcs11: URI",
            advice: "At byte \(offset): \(what) (RFC 7512, e.g. pkcs11:token=ecard?module-path=/usr/lib/module.so)")
    }
}
