import ECardTesting
import Testing

/// No key in clear outside token and chip: the tool's whole work with known keys, and then a search through everything
/// that crossed a boundary (docs/custody.md, "How we prove it").
@Suite(
    .ownThread, .serialized, .virtualReaders,
    .enabled(if: PythonOracle.isConfigured, Comment(rawValue: PythonOracle.howToEnable)))
struct CustodyProofTests {
    @Test func noKeyLeaves() async throws {
        let story = try await CustodyStory()
        let oracle = try PythonOracle()
        var cards = [try await story.issue(exposed: false), try await story.issue(exposed: true)]
        var ceremonies: [CustodyStory.Ceremony] = []
        for key in ["imk-ac", "kmc", "cvk"] { ceremonies.append(try await story.importKey(key, oracle)) }
        try await story.run("ecard hsm rotate imk-ac --yes; ecard hsm rotate kmc --yes")
        cards.append(try await story.issue(exposed: false))
        try await story.run("ecard hsm rotate --all --yes")
        cards[0].exchanges += try await story.withChip(of: cards[0]) { try await story.payWithChip(cards[0]) }
        let batch = try await story.issueBatch(rows: 3)
        for card in batch { try await story.payWithoutChip(card) }
        try await story.replaceCode(of: batch[0])
        try await story.payWithoutChip(batch[0])
        try await story.lookAround()

        let proof = try CustodyProof(story, cards + batch, ceremonies, oracle)
        try proof.checkKeys()
        try proof.checkThatTheSearchSees()
        try proof.search()
        try proof.checkWrappedKeys()
        try proof.checkChips()
        try proof.checkCeremonies()
        try proof.checkMeasuring(oracle)
        try proof.checkCodes()
    }
}
