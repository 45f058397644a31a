/// What a person is told who starts a server with a simulator: how to get from here to a payment on the telephone.
///
/// No key and no card number is in it. They are in files that the commands named here write.
enum SimulatorGuide {
    static func text(_ url: String) -> String {
        """

        A telephone to try payments with: \(url)/phone
        Give it the number of a customer: ecard customer list

        A payment, by a shop's key and a card's number and expiry from files:
          ecard merchant key MERCHANT --key-fd 3 3>key.txt
          ecard card show CARD --pan-fd 3 3>pan.txt
          ecard card show CARD --field expiry >expiry.txt

        curl \(url)/v1/payments -H "Authorization: Bearer $(cat key.txt)" -H "Content-Type: application/json" \
        -d '{"amount": 2500, "currency": "ghs", "card": {"number": "'"$(cat pan.txt)"'", "exp": "'"$(cat expiry.txt)"'"}}'

        The shop's webhooks, on the same page:
          ecard webhook add MERCHANT --url \(url)/phone/webhooks --allow-private
        """
    }
}
