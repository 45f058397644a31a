import CoreMetrics
@testable import ECardServer
import ECardTesting
import Foundation
import Testing

@Suite(.ownThread) struct MetricsTests {
    private func filled() -> PrometheusMetrics {
        let metrics = PrometheusMetrics(help: ["open:now": "What is \\ open\nnow."])
        let counter = metrics.makeCounter(label: "hb.requests", dimensions: [("http.route", "/v1/payments/{id}")])
        counter.increment(by: 3)
        metrics.makeCounter(label: "hb.requests", dimensions: [("http.route", "/v1/payments/{id}")]).increment(by: 4)
        metrics.makeCounter(label: "hb.requests", dimensions: [("http.route", "a\"b\\c\nd")]).increment(by: 1)
        metrics.makeMeter(label: "open:now", dimensions: []).increment(by: 2.5)
        metrics.makeMeter(label: "9lives", dimensions: []).set(-1.0)
        let timer = metrics.makeTimer(label: "request.duration", dimensions: [("route", "/x")])
        for milliseconds in [1, 3, 30, 300, 30_000] { timer.recordNanoseconds(Int64(milliseconds) * 1_000_000) }
        metrics.makeRecorder(label: "bytes", dimensions: [], aggregate: true).record(Double.nan)
        return metrics
    }

    @Test("The same name and labels are one series, and of another kind none")
    func series() {
        let metrics = filled()
        let text = metrics.text()
        #expect(text.contains("hb_requests_total{http_route=\"/v1/payments/{id}\"} 7\n"))
        #expect(text.contains("open:now 2.5\n") && text.contains("_9lives -1\n"))
        #expect(text.contains("request_duration_seconds_bucket{route=\"/x\",le=\"0.005\"} 2\n"))
        #expect(text.contains("request_duration_seconds_count{route=\"/x\"} 5\n"))
        #expect(text.contains("# HELP open:now What is \\\\ open\\nnow.\n# TYPE open:now gauge\n"))
        metrics.makeMeter(label: "hb.requests_total", dimensions: []).set(9.0)
        #expect(metrics.text() == text)
    }

    @Test(
        "Prometheus' own reader takes the text", .enabled(if: PythonOracle.isConfigured, "\(PythonOracle.howToEnable)"))
    func prometheusReadsIt() throws {
        let python = try #require(PythonOracle.interpreter)
        let child = try LineChild(python, ["-u", "-c", Self.reader])
        try child.send(try JSONEncoder().encode(filled().text()))
        let line = try #require(child.line())
        let samples = try JSONDecoder().decode([String: Double].self, from: Data(line.utf8))
        #expect(samples["hb_requests_total http_route=/v1/payments/{id}"] == 7)
        #expect(samples["hb_requests_total http_route=a\"b\\c\nd"] == 1)
        #expect(samples["request_duration_seconds_bucket le=+Inf route=/x"] == 5)
        #expect(abs((samples["request_duration_seconds_sum route=/x"] ?? 0) - 30.334) < 1e-9)
        #expect(samples["open:now "] == 2.5)
    }

    private static let reader = """
        import json, sys
        from prometheus_client.parser import text_string_to_metric_families as parse
        text = json.loads(sys.stdin.readline())
        print(json.dumps({s.name + ' ' + ' '.join(f'{k}={v}' for k, v in sorted(s.labels.items())): s.value
                          for family in parse(text) for s in family.samples}))
        """
}
