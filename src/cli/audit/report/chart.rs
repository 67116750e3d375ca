//! Charts as SVG inside of the page: bars, with what each stands for as its title.

use std::fmt::Write as _;

use super::html;

/// How large a chart is, in the units of its own coordinates.
const WIDTH: u64 = 720;
const HEIGHT: u64 = 160;
/// How high one lying bar is, with the space below it.
const ROW: u64 = 22;
/// Where lying bars begin: names stand before.
const NAMES: u64 = 200;
/// How many lying bars there are at most.
const ROWS_MAX: usize = 15;

/// A part of a standing bar: its class and what it counts.
pub(super) type Part = (&'static str, u64);

/// One standing bar for each label, of parts that stand on each other.
pub(super) fn standing(title: &str, bars: &[(String, Vec<Part>)]) -> String {
    let highest = bars.iter().map(|(_, parts)| sum(parts)).max().unwrap_or_default().max(1);
    let step = WIDTH / u64::try_from(bars.len()).unwrap_or(1).max(1);
    let mut svg = open(title, WIDTH, HEIGHT + 20);
    for (number, (label, parts)) in (0_u64..).zip(bars) {
        let (x, mut top) = (number * step, HEIGHT);
        let told: Vec<String> = parts.iter().map(|(class, count)| format!("{count} {class}")).collect();
        let _ = writeln!(svg, "<g><title>{}: {}</title>", html::text(label), told.join(", "));
        for (class, count) in parts {
            let height = HEIGHT * count / highest;
            top = top.saturating_sub(height);
            let width = step.saturating_sub(3).max(1);
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>"
            );
        }
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{}\">{}</text></g>", HEIGHT + 14, html::text(label));
    }
    svg + "</svg>\n"
}

/// One lying bar for each name, the longest first; what is beyond the bound is left out, and said.
pub(super) fn lying(title: &str, unit: &str, mut bars: Vec<(String, u64, String)>) -> String {
    bars.sort_by(|(one, length, _), (other, other_length, _)| other_length.cmp(length).then(one.cmp(other)));
    let left_out = bars.len().saturating_sub(ROWS_MAX);
    bars.truncate(ROWS_MAX);
    let longest = bars.first().map_or(1, |(_, length, _)| *length).max(1);
    let rows = u64::try_from(bars.len()).unwrap_or_default() + u64::from(left_out > 0);
    let mut svg = open(title, WIDTH, (rows * ROW).max(ROW));
    for (number, (name, length, shown)) in (0_u64..).zip(&bars) {
        let (y, name, shown) = (number * ROW, html::text(name), html::text(shown));
        let width = (WIDTH - NAMES - 80) * length / longest;
        let _ = writeln!(
            svg,
            "<g><title>{name}: {shown} {unit}</title><text x=\"0\" y=\"{}\">{name}</text>\
             <rect class=\"granted\" x=\"{NAMES}\" y=\"{y}\" width=\"{width}\" height=\"{}\"/>\
             <text x=\"{}\" y=\"{}\">{shown}</text></g>",
            y + 14,
            ROW - 4,
            NAMES + width + 6,
            y + 14
        );
    }
    if left_out > 0 {
        let _ = writeln!(svg, "<text x=\"0\" y=\"{}\">and {left_out} more</text>", (rows - 1) * ROW + 14);
    }
    svg + "</svg>\n"
}

fn open(title: &str, width: u64, height: u64) -> String {
    let title = html::text(title);
    format!(
        "<h3>{title}</h3>\n<svg role=\"img\" aria-label=\"{title}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n"
    )
}

fn sum(parts: &[Part]) -> u64 {
    parts.iter().map(|(_, count)| count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_they_count() {
        let bars =
            [("1".to_owned(), vec![("granted", 3), ("denied", 1)]), ("2".to_owned(), vec![("granted", 1)])];
        let svg = standing("Requests", &bars);
        assert!(svg.contains("<title>1: 3 granted, 1 denied</title>"), "{svg}");
        assert!(svg.contains("class=\"granted\" x=\"0\" y=\"40\" width=\"357\" height=\"120\""), "{svg}");
        assert!(svg.contains("class=\"denied\" x=\"0\" y=\"0\" width=\"357\" height=\"40\""), "{svg}");
        assert!(svg.contains("class=\"granted\" x=\"360\" y=\"120\" width=\"357\" height=\"40\""), "{svg}");
    }

    #[test]
    fn the_longest_come_first_and_the_rest_is_said() {
        let bar = |number: u64| (format!("t<{number}>"), number, number.to_string());
        let svg = lying("Hours", "hours", (1..=20).map(bar).collect());
        assert!(svg.contains("and 5 more") && !svg.contains("t&lt;5&gt;") && !svg.contains("t<"), "{svg}");
        assert!(svg.find("t&lt;20&gt;") < svg.find("t&lt;6&gt;"), "{svg}");
    }

    #[test]
    fn nothing_is_no_division_by_nothing() {
        assert!(standing("x", &[]).ends_with("</svg>\n"));
        assert!(standing("x", &[("1".to_owned(), vec![("granted", 0)])]).contains("height=\"0\""));
        assert!(lying("x", "hours", Vec::new()).ends_with("</svg>\n"));
    }
}
