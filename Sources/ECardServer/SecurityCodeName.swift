import Foundation

/// The names by which programs send a card's security code. A name is taken apart where its case changes and where no letter
/// or digit stands, so that `creditCardCVV` and `cc-csc` are seen, `currency` and `incident_id` left alone.
enum SecurityCodeName {
    /// Any of these as one part of a name.
    private static let words: Set<String> = [
        "cvv", "cvv1", "cvv2", "cvc", "cvc1", "cvc2", "cvn", "cvn2", "cvd", "csc", "cv2", "ccv", "dcvv", "icvv", "cvx2",
        "cav2",
    ]
    /// These as the whole name, however it is written.
    private static let names: Set<String> = [
        "cav", "spc", "cvnumber", "cardcode", "securitycode", "cardsecuritycode", "verificationvalue",
        "verificationcode", "verificationnumber", "cardverification", "cardverificationvalue", "cardverificationcode",
        "cardverificationnumber", "cardidentificationnumber", "cvvcode", "cvccode", "cvvnumber", "cvcnumber",
        "cvvvalue", "cvcvalue", "cvv2code", "cvc2code", "cvv2number", "cvc2number",
        "cardcvv", "cardcvc", "cardcvv2", "cardcvc2",
        "cardcvn", "cardcsc", "cardcid", "cccvv", "cccvc", "cccsc", "creditcardcvv", "creditcardcvc",
    ]

    static func matches(_ name: String) -> Bool {
        let parts = parts(of: name)
        let joined = parts.joined()
        return parts.contains(where: words.contains) || words.contains(joined) || names.contains(joined)
            // Short enough to end other words: alone, or a card's.
            || parts == ["cid"] || (parts.contains("cid") && parts.contains("card"))
    }

    /// The first such name in a query or a form (`application/x-www-form-urlencoded`). Of a text that is neither nothing is taken
    /// for a name: it would be repeated.
    static func first(inForm text: String) -> String? {
        formNames(of: text).first { name in
            name.utf8.count <= 64 && name.allSatisfy { $0.isLetter || $0.isNumber || "[]-_. ".contains($0) }
                && matches(name)
        }
    }

    /// The names in a query or a form, without what they stand for.
    static func formNames(of text: String) -> [String] {
        text.split(separator: "&").map { field in
            let name = field.prefix { $0 != "=" }.replacingOccurrences(of: "+", with: " ")
            return name.removingPercentEncoding ?? name
        }
    }

    private static func parts(of name: String) -> [String] {
        let characters = Array(name)
        var parts = [""]
        for (index, character) in characters.enumerated() {
            guard character.isLetter || character.isNumber else {
                parts.append("")
                continue
            }
            if character.isUppercase, index > 0 {
                // `cardCVV`, and the C of `CVVCode`; digits belong to the letters before them.
                let isLast = index + 1 == characters.count || !characters[index + 1].isLowercase
                if !characters[index - 1].isUppercase || !isLast { parts.append("") }
            }
            parts[parts.count - 1] += character.lowercased()
        }
        return parts.filter { !$0.isEmpty }
    }
}
