//! Panels of a dashboard as one picture, so that a person can judge it without a Grafana.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::prometheus::Series;

const COLUMNS: usize = 3;
const WIDTH: u32 = 520;
const HEIGHT: u32 = 300;
/// So many lines of a legend fit.
const NAMED: usize = 8;

/// A panel: its title and its lines, each with its name.
pub struct Panel {
    /// The title.
    pub title: String,
    /// The lines.
    pub lines: Vec<(String, Series)>,
}

/// What runs from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Seconds since the first point.
    Time,
    /// Nodes of the cluster, from none.
    Nodes,
}

/// The picture, as SVG.
pub fn draw(panels: &[Panel], axis: Axis) -> Result<String> {
    let rows = panels.len().div_ceil(COLUMNS);
    let size = (WIDTH * u32::try_from(COLUMNS)?, HEIGHT * u32::try_from(rows)?);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        let areas = root.split_evenly((rows, COLUMNS));
        for (panel, area) in panels.iter().zip(&areas) {
            one(panel, axis, area).map_err(|error| anyhow!("{}: {error}", panel.title))?;
        }
        root.present().map_err(|error| anyhow!("{error}"))?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn one(panel: &Panel, axis: Axis, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let points = || panel.lines.iter().flat_map(|(_, series)| &series.points).filter(|(_, y)| y.is_finite());
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::NEG_INFINITY, f64::max);
    let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min);
    let begin = match axis {
        Axis::Time => least(|point| point.0),
        Axis::Nodes => 0.0,
    };
    let end = most(|point| point.0);
    let top = most(|point| point.1).max(0.0);
    let mut chart = ChartBuilder::on(area);
    chart.caption(&panel.title, ("sans-serif", 15)).margin(8).x_label_area_size(24).y_label_area_size(56);
    if points().next().is_none() {
        let text = Text::new("no data", (220, 140), ("sans-serif", 14));
        chart.build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        return Ok(area.draw(&text)?);
    }
    let mut chart = chart.build_cartesian_2d(0.0..(end - begin).max(1.0), 0.0..(top * 1.1).max(1e-9))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_labels(6)
        .y_labels(5)
        .x_label_formatter(&|x| match axis {
            Axis::Time => format!("{x:.0} s"),
            Axis::Nodes => format!("{x:.0} nodes"),
        })
        .label_style(("sans-serif", 10))
        .draw()?;
    for (index, (name, series)) in panel.lines.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let line = series.points.iter().filter(|(_, y)| y.is_finite()).map(|(x, y)| (x - begin, *y));
        let drawn = chart.draw_series(LineSeries::new(line, color.stroke_width(2)))?;
        if index < NAMED {
            drawn
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], color.stroke_width(2)));
        }
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.7))
        .label_font(("sans-serif", 10))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_shows_its_title_its_names_and_when_it_has_nothing() {
        let series = Series { labels: serde_json::Value::Null, points: vec![(10.0, 1.0), (20.0, 2.0)] };
        let panels = [
            Panel { title: "Passes".to_owned(), lines: vec![("vdo-core".to_owned(), series)] },
            Panel { title: "Empty".to_owned(), lines: Vec::new() },
        ];
        let text = draw(&panels, Axis::Time).unwrap();
        for word in ["<svg", "Passes", "vdo-core", "Empty", "no data"] {
            assert!(text.contains(word), "{word}");
        }
    }
}
