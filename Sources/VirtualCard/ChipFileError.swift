/// A chip's state file cannot be made, opened or written.
public struct ChipFileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What happened. New kinds may come.
    public struct Kind: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        private init(_ description: String) { self.description = description }

        /// There is a file of that name already.
        public static let exists = Kind("the file exists already")
        /// There is no file of that name.
        public static let missing = Kind("no such file")
        /// Another process, or another chip object of this one, has the file.
        public static let inUse = Kind("the chip is in use")
        /// The file is of some other kind.
        public static let notAChip = Kind("this is no chip file")
        /// A later version of this software wrote it.
        public static let newerVersion = Kind("the chip file is of a newer version")
        /// The file is damaged.
        public static let corrupt = Kind("the chip file is damaged")
        /// The system refused a call.
        public static let system = Kind("the system refused")
        /// libcrypto failed.
        public static let cryptography = Kind("the cryptographic library failed")
    }

    public let kind: Kind
    /// The file's path.
    public let path: String
    /// Where: the offset, or the system call and what it said.
    public let place: String
    /// What the person can do next.
    public let advice: String

    init(_ kind: Kind, _ path: String, _ place: String = "", advice: String) {
        self.kind = kind
        self.path = path
        self.place = place
        self.advice = advice
    }

    public var description: String {
        "\(path): \(kind)" + (place.isEmpty ? "" : " (\(place))") + ". \(advice)"
    }
}
