import ECardTesting
import Foundation
import Testing

/// What is ours, seen through the tools of others: Debian's OpenSC.
extension ReaderTests {
    /// `opensc-tool` finds our card in the reader, the card manager by its empty name, and the payment environment.
    @Test func openscToolTalksToTheChip() async throws {
        let issuer = try await Issuer()
        let card = try await issuer.card(personalized: true)
        let outcome = try await issuer.run(
            """
            name=$(ecard card show \(card) --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["reader"])')
            reader=$(opensc-tool --list-readers | grep -F "$name" | awk '{ print $1 }')
            opensc-tool --reader "$reader" --atr
            opensc-tool --reader "$reader" --send-apdu 00:A4:04:00:00
            opensc-tool --reader "$reader" --send-apdu 80:CA:00:66:00
            opensc-tool --reader "$reader" --send-apdu 00:A4:04:00:0E:31:50:41:59:2E:53:59:53:2E:44:44:46:30:31:00
            """)
        expect(outcome, exits: 0)
        #expect(outcome.out.contains("3b:65:00:00:20:63:cb:68:00"), "\(outcome)")
        #expect(outcome.out.components(separatedBy: "SW1=0x90, SW2=0x00").count == 4, "\(outcome)")
        // The name of the card manager, in the answer to SELECT without one.
        #expect(outcome.out.contains("A0 00 00 01 51 00 00 00"), "\(outcome)")
        try await issuer.must("ecard card eject \(card)")
    }

    /// `pkcs11-tool` sees our keys as custody wants them: sensitive, never extractable, one use each.
    @Test func pkcs11ToolSeesKeysThatCannotLeave() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            """
            label=$(ecard hsm info --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["tokens"][0]["label"])')
            export PIN=$(cat $ECARD_HOME/token.pin) SOFTHSM2_CONF=$ECARD_HOME/softhsm/softhsm2.conf
            pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --token-label "$label" --login --pin env:PIN --list-objects
            """)
        expect(outcome, exits: 0)
        let objects = outcome.out.components(separatedBy: "Secret Key Object").dropFirst()
        #expect(objects.count == 11, "\(outcome)")
        for object in objects {
            #expect(object.contains("ecard."), "\(object)")
            #expect(object.contains("sensitive, always sensitive, never extractable, local"), "\(object)")
        }
        let master = try #require(objects.first { $0.contains("ecard.imk-ac.1") })
        #expect(master.contains("derive") && !master.contains("encrypt") && !master.contains("sign"), "\(master)")
    }
}
