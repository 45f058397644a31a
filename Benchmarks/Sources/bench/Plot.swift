import Foundation

/// A small picture of numbers as SVG: bars, or lines over a number.
struct Plot {
    struct Series {
        let name: String
        let points: [(x: Double, y: Double)]
    }

    private static let (width, left, right) = (720.0, 190.0, 70.0)
    private static let colours = ["#3b6ea5", "#d9822b", "#5b8c5a", "#8a5a83"]
    private var body = ""
    private let height: Double
    private let title: String

    /// Horizontal bars with a line where the target is.
    /// - Parameter bars: name, value, and the text behind the bar.
    static func bars(_ title: String, _ bars: [(name: String, value: Double, text: String)], target: Double?) -> Plot {
        var plot = Plot(title: title, height: 60 + 28 * Double(bars.count))
        let largest = max(bars.map(\.value).max() ?? 1, target ?? 0)
        let scale = (width - left - right) / max(largest, .leastNonzeroMagnitude)
        for (index, bar) in bars.enumerated() {
            let top = 44 + 28 * Double(index)
            plot.text(left - 8, top + 14, bar.name, anchor: "end")
            plot.body += """
                <rect x="\(left)" y="\(top)" width="\(max(bar.value * scale, 0).rounded(1))" height="18" \
                fill="\(colours[0])"/>

                """
            plot.text(left + bar.value * scale + 6, top + 14, bar.text)
        }
        if let target {
            let x = (left + target * scale).rounded(1)
            plot.body += """
                <line x1="\(x)" x2="\(x)" y1="36" y2="\(plot.height - 12)" stroke="#b03030" stroke-dasharray="4 3"/>

                """
        }
        return plot
    }

    /// Lines over a number axis that begins at 0.
    static func lines(_ title: String, _ series: [Series], x: String, y: String) -> Plot {
        var plot = Plot(title: title, height: 340)
        let points = series.flatMap(\.points)
        let (maximumX, maximumY) = (points.map(\.x).max() ?? 1, points.map(\.y).max() ?? 1)
        let (originX, originY, spanX, spanY) = (70.0, 290.0, width - 100, 230.0)
        plot.body += """
            <path d="M\(originX) 50 V\(originY) H\(originX + spanX)" fill="none" stroke="#888"/>

            """
        plot.text(originX - 8, 60, number(maximumY), anchor: "end")
        plot.text(originX - 8, originY, "0", anchor: "end")
        plot.text(originX + spanX, originY + 18, "\(number(maximumX)) \(x)", anchor: "end")
        plot.text(originX, 42, y)
        for (index, line) in series.enumerated() {
            let path = line.points.map { point in
                let left = originX + point.x / max(maximumX, .leastNonzeroMagnitude) * spanX
                let top = originY - point.y / max(maximumY, .leastNonzeroMagnitude) * spanY
                return "\(left.rounded(1)) \(top.rounded(1))"
            }
            let colour = colours[index % colours.count]
            plot.body += """
                <polyline points="\(path.joined(separator: " "))" fill="none" stroke="\(colour)" stroke-width="2"/>

                """
            plot.text(originX + 90 + 190 * Double(index), originY + 36, line.name, colour: colour)
        }
        return plot
    }

    private init(title: String, height: Double) {
        self.title = title
        self.height = height
    }

    private mutating func text(
        _ x: Double, _ y: Double, _ text: String, anchor: String = "start", colour: String = "#333"
    ) {
        body += """
            <text x="\(x.rounded(1))" y="\(y.rounded(1))" text-anchor="\(anchor)" fill="\(colour)">\(Self.escaped(text))</text>

            """
    }

    private static func number(_ value: Double) -> String {
        value >= 1000 ? String(format: "%.0f", value) : String(format: "%.3g", value)
    }

    private static func escaped(_ text: String) -> String {
        text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
    }

    var svg: String {
        """
        <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Self.width)) \(Int(height))" \
        font-family="sans-serif" font-size="13">
        <rect width="100%" height="100%" fill="white"/>
        <text x="16" y="24" font-size="15" font-weight="bold" fill="#222">\(Self.escaped(title))</text>
        \(body)</svg>

        """
    }
}
