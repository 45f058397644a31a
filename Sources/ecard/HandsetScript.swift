import ByteCoding
import Foundation

/// What a person does with a telephone, written down: one step a line.
struct HandsetScript {
    enum Step: Equatable {
        case dial(String)
        case send(String)
        /// The code: one line of this descriptor.
        case code(Int32)
        /// The code that a message brought for the payment on the screen (profile D).
        case oneTimeCode
        case expect(String)
        case message(String)
        /// A dialogue that the network begins.
        case prompt(String)
        case again
        case hangUp
    }

    static let help = """
        A SCRIPT has one step a line; empty lines and lines that begin with '#' are skipped:
          dial *713#       begins
          expect TEXT      the screen holds TEXT, else exit code 5
          send TEXT        types it
          code-fd N        gives the code that is the next line of descriptor N
          one-time-code    gives the code that a message brings for the payment on the screen, as 'message' waits for it
          again            sends the last request again, as a gateway that got no answer
          message TEXT     waits until a message with TEXT has come, at most 10 seconds, else exit code 5
          prompt TEXT      waits until a payment asks by itself, as long, and wants TEXT on the screen
          hangup           leaves the dialogue
        """

    let steps: [(line: Int, step: Step)]

    /// - Throws: ``UsageFailure`` with the line.
    init(_ text: String, file: String) throws {
        var steps: [(Int, Step)] = []
        for (place, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let words = line.split(separator: " ", maxSplits: 1).map(String.init)
            guard let word = words.first, !word.hasPrefix("#") else { continue }
            let rest = words.count > 1 ? words[1].trimmingCharacters(in: .whitespaces) : ""
            guard let step = Self.step(word, rest) else {
                throw UsageFailure(
                    "\(file):\(place + 1): no step '\(word)' of this form. 'ecard handset --help' has them")
            }
            steps.append((place + 1, step))
        }
        self.steps = steps
    }

    private static func step(_ word: String, _ rest: String) -> Step? {
        switch (word, rest.isEmpty) {
        case ("dial", false): .dial(rest)
        case ("send", false): .send(rest)
        case ("code-fd", false): Int32(rest).map { .code($0) }
        case ("one-time-code", true): .oneTimeCode
        case ("expect", false): .expect(rest)
        case ("message", false): .message(rest)
        case ("prompt", false): .prompt(rest)
        case ("again", true): .again
        case ("hangup", true): .hangUp
        default: nil
        }
    }
}
