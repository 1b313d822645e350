//! Draws two pictures as SVG, in colours that are readable on a light and on a dark page.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::crowd::CROWDS;
use crate::peers::Id;
use crate::results::Results;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const TEXT: RGBColor = RGBColor(118, 131, 144);
const OURS: RGBColor = RGBColor(47, 129, 247);
const THEIRS: RGBColor = RGBColor(144, 153, 163);
const WHISKER: RGBColor = RGBColor(95, 105, 116);
const WIDTH: i32 = 860;

/// Draws the time of a login as a multiple of the floor's, on a logarithmic scale, with quartiles.
pub fn login(results: &Results) -> Result<String> {
    const LEFT: i32 = 330;
    const RIGHT: i32 = WIDTH - 70;
    const TOP: i32 = 62;
    const ROW: i32 = 28;

    let floor = results
        .login(Id::Floor)
        .ok_or_else(|| anyhow!("the floor did not run"))?;
    let mut rows: Vec<_> = (results.logins.iter())
        .filter(|(id, _)| !id.is_beside())
        .filter_map(|(id, times)| Some((*id, times.as_ref().ok()?.turns.against(floor))))
        .collect();
    rows.sort_by(|(_, one), (_, other)| one.median.total_cmp(&other.median));
    let most = rows
        .iter()
        .map(|(_, ratio)| ratio.upper)
        .fold(10.0, f64::max)
        * 1.1;
    let bottom = TOP + ROW * i32::try_from(rows.len())?;

    // From a little below the floor, so that its bar is visible.
    let (low, high) = (0.8_f64.ln(), most.ln());
    let x = |ratio: f64| {
        LEFT + round((ratio.ln() - low) / (high - low) * f64::from(RIGHT - LEFT)).max(0)
    };
    drawn(bottom + 34, |area| {
        let title = "Time of one login over loopback TCP, as a multiple of the bare exchange of three messages";
        write(area, title, (16, 20), 15, TEXT, HPos::Left)?;
        let note = "logarithmic scale; bars are medians, whiskers quartiles; until both ends have succeeded";
        write(area, note, (16, 41), 12, TEXT, HPos::Left)?;
        for tick in [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0] {
            if tick > most {
                break;
            }
            let grid = TEXT.mix(0.3).stroke_width(1);
            area.draw(&PathElement::new(
                [(x(tick), TOP - 4), (x(tick), bottom + 4)],
                grid,
            ))?;
            let label = format!("{tick}×");
            write(area, &label, (x(tick), bottom + 18), 12, TEXT, HPos::Center)?;
        }
        for (row, (id, ratio)) in (0..).zip(&rows) {
            let y = TOP + ROW * row + ROW / 2;
            let colour = if is_ours(*id) { OURS } else { THEIRS };
            let name = plain(id.name());
            write(
                area,
                &name,
                (LEFT - 10, y),
                13,
                label_colour(*id),
                HPos::Right,
            )?;
            let bar = [(LEFT, y - 8), (x(ratio.median), y + 8)];
            area.draw(&Rectangle::new(bar, colour.filled()))?;
            let (from, to) = (x(ratio.lower), x(ratio.upper));
            let line = WHISKER.stroke_width(2);
            area.draw(&PathElement::new([(from, y), (to, y)], line))?;
            for end in [from, to] {
                area.draw(&PathElement::new([(end, y - 4), (end, y + 4)], line))?;
            }
            let value = format!("{:.2}×", ratio.median);
            let place = (to.max(x(ratio.median)) + 7, y);
            write(area, &value, place, 13, label_colour(*id), HPos::Left)?;
        }
        Ok(())
    })
}

/// Draws the CPU time of one login, including the system's, over the number of clients.
pub fn concurrency(results: &Results) -> Result<String> {
    const LEFT: i32 = 70;
    const RIGHT: i32 = 520;
    const TOP: i32 = 66;
    const BOTTOM: i32 = 430;

    let lines: Vec<_> = (results.crowd.iter())
        .filter_map(|(id, rates)| {
            let rates = rates.as_ref().ok()?;
            Some((
                *id,
                rates.cpu.each_ref().map(|sample| 1e6 * sample.median()),
            ))
        })
        .collect();
    let all = || lines.iter().flat_map(|(_, costs)| costs);
    let low = (all().copied().fold(f64::INFINITY, f64::min) * 0.8).ln();
    let high = (all().copied().fold(0.0, f64::max) * 1.2).ln();
    let y = |cost: f64| BOTTOM - round((cost.ln() - low) / (high - low) * f64::from(BOTTOM - TOP));
    let x = |crowd: usize| LEFT + 40 + i32::try_from(crowd).unwrap_or_default() * 190;

    drawn(BOTTOM + 62, |area| {
        let title = "CPU time of one login, both ends and the kernel, in microseconds";
        write(area, title, (16, 20), 15, TEXT, HPos::Left)?;
        let note = "logarithmic scale; all clients at once over tokio on one core; flat is good";
        write(area, note, (16, 41), 12, TEXT, HPos::Left)?;
        for tick in [
            10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0,
        ] {
            if !(low..=high).contains(&f64::ln(tick)) {
                continue;
            }
            let grid = TEXT.mix(0.3).stroke_width(1);
            area.draw(&PathElement::new([(LEFT, y(tick)), (RIGHT, y(tick))], grid))?;
            write(
                area,
                &format!("{tick}"),
                (LEFT - 8, y(tick)),
                12,
                TEXT,
                HPos::Right,
            )?;
        }
        for (crowd, clients) in CROWDS.into_iter().enumerate() {
            let label = clients.to_string();
            write(
                area,
                &label,
                (x(crowd), BOTTOM + 16),
                12,
                TEXT,
                HPos::Center,
            )?;
        }
        let place = (x(1), BOTTOM + 38);
        write(area, "clients at once", place, 12, TEXT, HPos::Center)?;

        let mut labels: Vec<_> = lines.iter().map(|(_, costs)| y(costs[2])).collect();
        spread(&mut labels, 17);
        for ((id, costs), label) in lines.iter().zip(labels) {
            let colour = line_colour(*id);
            let width = if is_ours(*id) { 3 } else { 2 };
            let points: Vec<_> = (costs.iter().enumerate())
                .map(|(crowd, cost)| (x(crowd), y(*cost)))
                .collect();
            for &point in &points {
                area.draw(&Circle::new(point, 3, colour.filled()))?;
            }
            let end = (x(2), y(costs[2]));
            area.draw(&PathElement::new(points, colour.stroke_width(width)))?;
            let thin = colour.mix(0.6).stroke_width(1);
            area.draw(&PathElement::new([end, (RIGHT + 10, label)], thin))?;
            let name = format!("{} {:.0}", plain(id.name()), costs[2]);
            write(area, &name, (RIGHT + 15, label), 12, colour, HPos::Left)?;
        }
        Ok(())
    })
}

fn drawn(height: i32, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    draw(&area)?;
    area.present()?;
    drop(area);
    Ok(svg)
}

fn write(
    area: &Area<'_>,
    text: &str,
    place: (i32, i32),
    size: i32,
    colour: RGBColor,
    anchor: HPos,
) -> Result<()> {
    let style = TextStyle::from(("sans-serif", size).into_font())
        .color(&colour)
        .pos(Pos::new(anchor, VPos::Center));
    area.draw(&Text::new(text.to_owned(), place, style))?;
    Ok(())
}

/// Moves overlapping labels apart by the smallest distance, from the top.
fn spread(places: &mut [i32], apart: i32) {
    let mut order: Vec<_> = (0..places.len()).collect();
    order.sort_by_key(|&index| places[index]);
    // Upwards from the lowest, so that no label leaves the picture.
    let mut limit = i32::MAX;
    for &index in order.iter().rev() {
        places[index] = places[index].min(limit);
        limit = places[index] - apart;
    }
}

fn is_ours(id: Id) -> bool {
    id.is_native() || matches!(id, Id::Cookbook | Id::Multiprocessing)
}

fn label_colour(id: Id) -> RGBColor {
    if is_ours(id) { OURS } else { TEXT }
}

fn line_colour(id: Id) -> RGBColor {
    match id {
        Id::Native | Id::Encrypt => OURS,
        Id::Cookbook => RGBColor(84, 160, 200),
        Id::Multiprocessing => RGBColor(98, 114, 214),
        Id::Noise => RGBColor(45, 154, 80),
        Id::Psk => RGBColor(191, 120, 20),
        Id::PskDhe => RGBColor(209, 84, 36),
        Id::Mutual => RGBColor(219, 72, 120),
        Id::Scram => RGBColor(163, 113, 247),
        Id::ScramCached => RGBColor(20, 150, 160),
        _ => TEXT,
    }
}

/// Returns a name without Markdown.
fn plain(name: &str) -> String {
    name.replace('`', "")
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a place in a picture of some hundred pixels"
)]
fn round(place: f64) -> i32 {
    place.round() as i32
}
