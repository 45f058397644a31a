import Dispatch
import Foundation

/// Debian's Chromium without a window, driven by its own chromedriver over WebDriver (W3C) with the PyPI package selenium:
/// the driver is always of the browser's version, and selenium waits for what it is to find.
public final class Browser: @unchecked Sendable {
    // @unchecked: the child is used on the queue alone.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    /// What a person meets who uses a keyboard or a screen reader: role and name of each place that takes the focus.
    public struct Place: Hashable, Sendable {
        public let role: String
        public let name: String
    }

    private let queue = DispatchQueue(label: "browser")
    private var child: LineChild?

    /// Why there is no browser here; `nil` where there is.
    public static let whyNot: String? = {
        for program in ["chromium", "chromedriver"] where ServiceChild.path(of: program) == nil {
            return "\(program) is not installed (tools/test installs it)"
        }
        guard let path = PythonOracle.interpreter else { return PythonOracle.howToEnable }
        let probe = TestProcess()
        probe.executableURL = URL(fileURLWithPath: path)
        probe.arguments = ["-c", "import selenium"]
        probe.standardError = FileHandle.nullDevice
        guard (try? probe.start()) != nil else { return "\(path) cannot be started" }
        probe.waitUntilExit()
        return probe.terminationStatus == 0 ? nil : "\(path) has no selenium (tools/test installs it)"
    }()

    private init() {}

    /// Starts one with a profile of its own and a page of so many CSS pixels.
    public static func start(width: Int = 360, height: Int = 740) async throws -> Browser {
        if let whyNot { throw Failure(description: whyNot) }
        let browser = Browser()
        try await browser.onQueue {
            browser.child = try LineChild(
                PythonOracle.interpreter ?? "",
                [
                    "-u", "-W", "ignore", "-c", script, ServiceChild.path(of: "chromium") ?? "",
                    ServiceChild.path(of: "chromedriver") ?? "", "\(width)", "\(height)",
                ])
        }
        _ = try await browser.call("width", [])
        return browser
    }

    deinit {
        // The end of the child is waited for, and not here.
        queue.async { [held = Held(child)] in _ = held }
    }

    private struct Held: @unchecked Sendable {
        let child: LineChild?
        init(_ child: LineChild?) { self.child = child }
    }

    public func open(_ url: String) async throws { _ = try await call("open", [url]) }

    /// Types into the element that this CSS selector finds; ends with a line feed to send it.
    public func type(_ text: String, into selector: String) async throws {
        _ = try await call("type", [selector, text])
    }

    public func click(_ selector: String) async throws { _ = try await call("click", [selector]) }

    /// Takes the option of this value.
    public func choose(_ value: String, in selector: String) async throws {
        _ = try await call("choose", [selector, value])
    }

    /// Waits until the element's text holds `text`, at most 60 seconds.
    /// - Returns: the whole text.
    @discardableResult
    public func wait(for text: String, in selector: String) async throws -> String {
        try await call("wait", [selector, text]) as? String ?? ""
    }

    /// What a JavaScript expression gives; of a promise, what it is kept with.
    public func value(of expression: String) async throws -> sending Any? { try await call("evaluate", [expression]) }

    public func places() async throws -> [Place] {
        let rows = try await call("places", []) as? [[String]] ?? []
        return rows.map { Place(role: $0[0], name: $0[1]) }
    }

    /// Warnings and errors of the console since the last call: failed requests and breaches of the content security policy
    /// are among them.
    public func faults() async throws -> [String] { try await call("faults", []) as? [String] ?? [] }

    /// Every URL that was asked for.
    public func requests() async throws -> [String] { try await call("requests", []) as? [String] ?? [] }

    private struct Request: Encodable {
        let call: String
        let arguments: [String]
    }

    private func call(_ name: String, _ arguments: [String]) async throws -> sending Any? {
        let text = try await onQueue { [self] in
            guard let child else { throw Failure(description: "the browser has ended") }
            try child.send(JSONEncoder().encode(Request(call: name, arguments: arguments)))
            guard let line = child.line() else { throw Failure(description: "the browser's driver has ended") }
            return line
        }
        let answer = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any] ?? [:]
        if let error = answer["error"] as? String {
            throw Failure(description: "\(name) \(arguments.first ?? ""): \(error)")
        }
        return answer["value"]
    }

    private func onQueue<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try body() }) }
        }
    }

    private static let script = #"""
        import json, os, sys
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.ui import Select, WebDriverWait
        from selenium.common.exceptions import TimeoutException

        browser, driver_path, width, height = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        words = ["--headless=new", "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"]
        # Chromium's sandbox is not for root.
        if os.geteuid() == 0: words.append("--no-sandbox")
        for word in words: options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(driver_path))
        driver.set_script_timeout(60)
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})

        def find(selector): return driver.find_element(By.CSS_SELECTOR, selector)
        def text(selector): return find(selector).get_attribute("textContent")
        def wait(selector, wanted):
            try:
                # An element that is not there yet is waited for, too.
                return WebDriverWait(driver, 60, poll_frequency=0.05).until(
                    lambda _: wanted in text(selector) and text(selector))
            except TimeoutException:
                page = driver.execute_script("return document.body.innerText")
                raise Exception("%r did not come; the page is %r" % (wanted, page))
        def evaluate(expression):
            kept, value = driver.execute_async_script("""
                const done = arguments[arguments.length - 1];
                Promise.resolve().then(() => (%s)).then((value) => done([true, value]), (error) => done([false, String(error)]));
                """ % expression)
            if not kept: raise Exception(value)
            return value
        def places():
            nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
            def focusable(node):
                return any(p["name"] == "focusable" and p["value"].get("value") for p in node.get("properties", []))
            return [[node["role"]["value"], node.get("name", {}).get("value", "")] for node in nodes
                if not node.get("ignored") and focusable(node)]
        def faults():
            return ["%(level)s %(message)s" % entry for entry in driver.get_log("browser")
                if entry["level"] in ("WARNING", "SEVERE")]
        def requests():
            messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
            return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

        calls = {
            "width": lambda: driver.execute_script("return window.innerWidth"), "open": driver.get,
            "type": lambda selector, keys: find(selector).send_keys(keys),
            "click": lambda selector: find(selector).click(),
            "choose": lambda selector, value: Select(find(selector)).select_by_value(value),
            "wait": wait, "evaluate": evaluate, "places": places, "faults": faults, "requests": requests,
        }
        try:
            for line in sys.stdin:
                try:
                    request = json.loads(line)
                    print(json.dumps({"value": calls[request["call"]](*request["arguments"])}))
                except Exception as error:
                    print(json.dumps({"error": str(error).split("Stacktrace")[0].strip()}))
        finally:
            driver.quit()
        """#
}
