//! Bars and lines as SVG, in the few shapes that the report needs.

const WIDTH: f64 = 760.0;
const COLOURS: [&str; 8] =
    ["#1b6ca8", "#d1495b", "#66a182", "#edae49", "#7d5ba6", "#2e4057", "#8d96a3", "#00798c"];

/// An axis: its label, and whether equal steps are equal factors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis<'a> {
    pub(super) label: &'a str,
    pub(super) log: bool,
}

/// A named line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Horizontal bars, the longest as wide as there is room.
pub(super) fn bars(title: &str, unit: &str, values: &[(String, f64)]) -> String {
    let most = values.iter().fold(f64::MIN_POSITIVE, |most, (_, value)| most.max(*value));
    let mut body = String::new();
    for (n, (name, value)) in values.iter().enumerate() {
        let y = 46.0 + 24.0 * n as f64;
        let width = (value / most * 380.0).max(1.0);
        let bar = format!(
            "<text x=\"220\" y=\"{:.0}\" text-anchor=\"end\">{}</text><rect x=\"228\" y=\"{y:.0}\" width=\"{width:.1}\" \
             height=\"16\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{:.0}\">{} {unit}</text>",
            y + 13.0,
            escaped(name),
            colour_of(name),
            width + 234.0,
            y + 13.0,
            crate::table::short(*value),
        );
        body.push_str(&bar);
        body.push('\n');
    }
    framed(title, 60.0 + 24.0 * values.len() as f64, &body)
}

fn colour_of(name: &str) -> &'static str {
    let ours = name.contains("io-uring") || name.starts_with("disk-cache");
    match name {
        _ if ours => COLOURS[0],
        _ if name.starts_with("tokio::fs") => COLOURS[3],
        _ if name.contains("tokio") => COLOURS[7],
        _ if name.contains("foyer") => COLOURS[1],
        _ => COLOURS[6],
    }
}

/// Lines over two axes.
pub(super) fn lines(title: &str, x: Axis<'_>, y: Axis<'_>, lines: &[Line]) -> String {
    let height = 330.0 + 16.0 * lines.len().div_ceil(2) as f64;
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let (across, up) = (Scale::new(x.log, points().map(|p| p.0)), Scale::new(y.log, points().map(|p| p.1)));
    let place = |(px, py): (f64, f64)| (70.0 + 660.0 * across.share(px), 280.0 - 230.0 * up.share(py));
    let mut body = String::new();
    let mut put = |text: String| body.push_str(&text);
    for tick in across.ticks() {
        let (left, _) = place((tick, up.least));
        put(format!("<line x1=\"{left:.1}\" y1=\"50\" x2=\"{left:.1}\" y2=\"280\" stroke=\"#ddd\"/>"));
        put(format!("<text x=\"{left:.1}\" y=\"296\" text-anchor=\"middle\">{}</text>\n", tick_text(tick)));
    }
    for tick in up.ticks() {
        let (_, top) = place((across.least, tick));
        put(format!("<line x1=\"70\" y1=\"{top:.1}\" x2=\"730\" y2=\"{top:.1}\" stroke=\"#ddd\"/>"));
        put(format!(
            "<text x=\"64\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            top + 4.0,
            tick_text(tick)
        ));
    }
    put(format!("<text x=\"400\" y=\"312\" text-anchor=\"middle\">{}</text>", escaped(x.label)));
    put(format!("<text x=\"12\" y=\"42\">{}</text>\n", escaped(y.label)));
    for (n, line) in lines.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let path = line.points.iter().map(|&point| {
            let (left, top) = place(point);
            format!("{left:.1},{top:.1}")
        });
        let path = path.collect::<Vec<_>>().join(" ");
        put(format!("<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
        for &point in &line.points {
            let (left, top) = place(point);
            put(format!("<circle cx=\"{left:.1}\" cy=\"{top:.1}\" r=\"3\" fill=\"{colour}\"/>"));
        }
        let (left, top) = (70.0 + 340.0 * (n % 2) as f64, 330.0 + 16.0 * (n / 2) as f64);
        put(format!(
            "<rect x=\"{left}\" y=\"{:.0}\" width=\"12\" height=\"4\" fill=\"{colour}\"/>",
            top - 6.0
        ));
        put(format!("<text x=\"{:.0}\" y=\"{top:.0}\">{}</text>\n", left + 18.0, escaped(&line.name)));
    }
    framed(title, height + 10.0, &body)
}

fn framed(title: &str, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"12\" \
         y=\"22\" font-size=\"15\" font-weight=\"bold\">{}</text>\n{body}</svg>\n",
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn tick_text(value: f64) -> String {
    match value.abs() {
        n if n >= 1e6 => format!("{}M", value / 1e6),
        n if n >= 1e3 => format!("{}k", value / 1e3),
        _ => crate::table::short(value),
    }
}

/// From the least value to the most, linear ones from zero.
struct Scale {
    log: bool,
    least: f64,
    most: f64,
}

impl Scale {
    fn new(log: bool, values: impl Iterator<Item = f64>) -> Self {
        let (least, most) = values
            .filter(|v| v.is_finite())
            .fold((f64::INFINITY, f64::MIN_POSITIVE), |(l, m), v| (l.min(v), m.max(v)));
        if log {
            let least = 10f64.powf(least.max(1e-3).log10().floor());
            Self { log, least, most: 10f64.powf(most.log10().ceil()).max(least * 10.0) }
        } else {
            Self { log, least: 0.0, most: most * 1.05 }
        }
    }

    fn share(&self, value: f64) -> f64 {
        if self.log {
            (value.max(self.least) / self.least).log10() / (self.most / self.least).log10()
        } else {
            (value - self.least) / (self.most - self.least)
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let (mut ticks, mut tick) = (Vec::new(), self.least);
            while tick <= self.most * 1.001 {
                ticks.push(tick);
                tick *= 10.0;
            }
            return ticks;
        }
        let step = 10f64.powf((self.most / 4.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|n| n * step)
            .into_iter()
            .find(|s| self.most / s <= 6.0)
            .unwrap_or(step * 10.0);
        (0..=6u8).map(|n| f64::from(n) * step).take_while(|&tick| tick <= self.most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_gives_each_factor_of_ten_the_same_room() {
        let scale = Scale::new(true, [10.0, 1000.0].into_iter());
        assert_eq!(scale.ticks(), [10.0, 100.0, 1000.0]);
        assert!((scale.share(100.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn names_do_not_break_the_markup() {
        let svg = bars("a < b", "x", &[("c & d".to_owned(), 1.0)]);
        assert!(svg.contains("a &lt; b") && svg.contains("c &amp; d"));
    }
}
