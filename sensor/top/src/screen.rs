//! Draws the screen. Places depend on the size of the window only, so nothing shifts when numbers change; the accent colour
//! marks headings, signal colours mark what is wrong, and both are words or symbols too.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use crate::text::{bits, duration, number, percent, plain, rate};
use crate::view::{Hour, Interface, Seen, State, View};
use crate::words::Words;

/// Lines for interfaces: if there are more, the last line is the sum of the others.
const INTERFACES_MAX: usize = 4;
/// A window that is smaller shows nothing that helps.
const COLUMNS_MIN: u16 = 40;
const LINES_MIN: u16 = 12;

/// How it is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub words: &'static Words,
    /// Colours are wanted (no-color.org).
    pub has_colours: bool,
    /// The terminal shows more than ASCII.
    pub has_symbols: bool,
}

/// The moment that is drawn.
#[derive(Clone, Debug)]
pub struct Moment {
    pub at: Instant,
    pub now_us: i64,
    /// The time of the day.
    pub clock: String,
    /// What is asked for metrics.
    pub source: String,
}

impl Look {
    fn accent(&self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.has_colours { style.fg(Color::Cyan) } else { style }
    }

    /// Something is wrong.
    fn alarm(&self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.has_colours { style.fg(Color::Red) } else { style.add_modifier(Modifier::REVERSED) }
    }

    /// Something wants to be looked at.
    fn notice(&self) -> Style {
        if self.has_colours { Style::new().fg(Color::Yellow) } else { Style::new().add_modifier(Modifier::BOLD) }
    }

    fn alarm_if(&self, is_wrong: bool) -> Style {
        if is_wrong { self.alarm() } else { Style::new() }
    }
}

/// Draws everything. `first` is the first incident to show; how many fit is the answer.
pub fn draw(frame: &mut Frame<'_>, view: &View, look: &Look, moment: &Moment, first: usize) -> usize {
    let area = frame.area();
    if area.width < COLUMNS_MIN || area.height < LINES_MIN {
        frame.render_widget(Paragraph::new(look.words.too_small), area);
        return 0;
    }
    let interfaces = view.interfaces(moment.at);
    let lines = interfaces.len().clamp(1, INTERFACES_MAX) as u16;
    let [head, state, table, totals, _, hour, bar, _, incidents, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(1 + lines),
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, head, view, look, moment);
    frame.render_widget(Paragraph::new(state_line(view, look, moment)), state);
    draw_interfaces(frame, table, interfaces, look);
    frame.render_widget(Paragraph::new(totals_lines(view, look, moment)), totals);
    let seen = view.hour(moment.now_us);
    frame.render_widget(Paragraph::new(hour_line(&seen, look)), hour);
    frame.render_widget(Paragraph::new(bar_line(&seen, look)), bar);
    let fit = draw_incidents(frame, incidents, view, look, moment, first);
    frame.render_widget(Paragraph::new(foot_line(view, look, first, fit)), foot);
    fit
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, view: &View, look: &Look, moment: &Moment) {
    let uptime = view.totals(moment.at, moment.now_us).uptime_s;
    let mut parts = vec![Span::styled("vigie", look.accent()), Span::raw(format!("  {}", moment.source))];
    if let Some(seconds) = uptime {
        parts.push(Span::raw(format!("  {} {}", look.words.running_for, duration(seconds))));
    }
    frame.render_widget(Paragraph::new(Line::from(parts)), area);
    frame.render_widget(Paragraph::new(moment.clock.as_str()).alignment(Alignment::Right), area);
}

fn state_line(view: &View, look: &Look, moment: &Moment) -> Line<'static> {
    let w = look.words;
    match view.state(moment.at) {
        State::Asking => Line::from(w.asking),
        State::Ready => Line::from(w.ready),
        State::NotReady(reasons) => {
            Line::from(Span::styled(format!("{}: {}", w.not_ready, plain(&reasons.join(", "))), look.alarm()))
        }
        State::NoMetrics(error) => {
            let wants_more = error.starts_with("HTTP 40") || error == "no HTTP";
            let mut text = format!("{}: {}", w.no_metrics, plain(&error));
            if wants_more {
                text.push_str(&format!(" ({})", w.wants_sign_in));
            }
            Line::from(Span::styled(text, look.alarm()))
        }
    }
}

fn draw_interfaces(frame: &mut Frame<'_>, area: Rect, mut interfaces: Vec<Interface>, look: &Look) {
    let w = look.words;
    if interfaces.len() > INTERFACES_MAX {
        let others = interfaces.split_off(INTERFACES_MAX - 1);
        interfaces.push(Interface::together(&others, format!("{} {}", others.len(), w.more_interfaces)));
    }
    let right = |text: String| Cell::from(Line::from(text).alignment(Alignment::Right));
    let head = [w.interface, w.packets, w.bits, w.drops, w.dropped, w.share, w.link];
    let head = head.iter().enumerate().map(|(at, text)| match at {
        0 | 6 => Cell::from(*text),
        _ => right((*text).to_owned()),
    });
    let rows = interfaces.into_iter().map(|one| {
        let share = match (one.dropped, one.seen) {
            (Some(dropped), Some(seen)) => percent(dropped, dropped + seen).replace('.', w.decimal),
            _ => "-".to_owned(),
        };
        let (link, is_wrong) = match (one.is_up, one.is_silent) {
            (Some(false), _) => (w.down, true),
            (_, true) => (w.silent, true),
            (Some(true), _) => (w.up, false),
            (None, _) => ("-", false),
        };
        let loses = one.drops.is_some_and(|drops| drops > 0.0);
        Row::new([
            Cell::from(plain(&one.name)),
            right(rate(one.packets)),
            right(bits(one.bits).replace('.', w.decimal)),
            right(rate(one.drops.map(f64::ceil))).style(look.alarm_if(loses)),
            right(rate(one.dropped)),
            right(share),
            Cell::from(link).style(look.alarm_if(is_wrong)),
        ])
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(11),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(13),
        Constraint::Length(8),
        Constraint::Length(7),
    ];
    frame.render_widget(Table::new(rows, widths).header(Row::new(head).style(look.accent())), area);
}

fn totals_lines(view: &View, look: &Look, moment: &Moment) -> Vec<Line<'static>> {
    let w = look.words;
    let totals = view.totals(moment.at, moment.now_us);
    let busy = totals.busy.map_or_else(|| "-".to_owned(), |busy| format!("{:.0} %", busy * 100.0));
    let slots = totals.slots.map(|slots| format!(" {} {}", w.of, number(slots))).unwrap_or_default();
    let loses = totals.lost_events.is_some_and(|lost| lost > 0.0);
    vec![
        Line::from(format!("{:>13}{slots} {}", rate(totals.flows), w.flows)),
        Line::from(vec![
            Span::raw(format!("{:>13} {}   {} {busy:>5}   ", rate(totals.hellos), w.hellos, w.busy)),
            Span::styled(format!("{:>7} {}", rate(totals.lost_events), w.lost_events), look.alarm_if(loses)),
        ]),
    ]
}

fn hour_line(hour: &Hour, look: &Look) -> Line<'static> {
    let w = look.words;
    let title = Span::styled(format!("{}  ", w.last_hour), look.accent());
    if !hour.is_known {
        return Line::from(vec![title, Span::styled(w.no_coverage, look.notice())]);
    }
    let silent = hour.minutes.iter().filter(|minute| **minute == Seen::Untold).count() as u64 * 60;
    let of_hour = percent(hour.seen_s as f64, 3_600.0).replace('.', w.decimal);
    Line::from(vec![
        title,
        Span::raw(format!("{} {of_hour}", w.seen)),
        Span::styled(format!(", {} {}", w.blind, duration(hour.blind_s)), look.alarm_if(hour.blind_s > 0)),
        Span::raw(format!(", {} {}", w.lossy, duration(hour.lossy_s))),
        Span::raw(format!(", {} {}", w.untold, duration(silent))),
    ])
}

fn bar_line(hour: &Hour, look: &Look) -> Line<'static> {
    let symbols = if look.has_symbols { ["█", "▒", "×", "·"] } else { ["#", "~", "x", "."] };
    let [whole, lossy, blind, untold] = symbols;
    let cell = |seen: &Seen| match seen {
        Seen::Whole => Span::raw(whole),
        Seen::Lossy => Span::styled(lossy, look.notice()),
        Seen::Blind => Span::styled(blind, look.alarm()),
        Seen::Untold => Span::raw(untold),
    };
    let mut parts: Vec<Span<'static>> = hour.minutes.iter().map(cell).collect();
    let w = look.words;
    // The legend: a bar is read without it only by who knows it.
    parts.push(Span::raw(format!("  {lossy} {} {blind} {}", w.losses, w.blind)));
    Line::from(parts)
}

fn draw_incidents(frame: &mut Frame<'_>, area: Rect, view: &View, look: &Look, moment: &Moment, first: usize) -> usize {
    let w = look.words;
    let [title, table] = Layout::vertical([Constraint::Length(1), Constraint::Min(2)]).areas(area);
    let mut parts = vec![Span::styled(w.incidents, look.accent())];
    if let Some(open) = view.totals(moment.at, moment.now_us).incidents_open {
        parts.push(Span::raw(format!("  {} {}", number(open), w.open)));
    }
    if let Some(error) = &view.events_error {
        parts.push(Span::styled(format!("  {}: {}", w.events_unread, plain(error)), look.alarm()));
    } else if !view.is_caught_up {
        parts.push(Span::raw(format!("  {}", w.reading)));
    } else if view.incidents.is_empty() {
        parts.push(Span::raw(format!("  {}", w.no_incidents)));
    }
    frame.render_widget(Paragraph::new(Line::from(parts)), title);
    let fit = usize::from(table.height.saturating_sub(1));
    let rows = view.incidents.iter().skip(first).take(fit).map(|incident| {
        let is_open = incident.state != "closed";
        let is_grave = incident.severity == 1 && is_open;
        Row::new([
            Cell::from(clock_of(incident.time_us)),
            Cell::from(plain(w.state_word(&incident.state))),
            Cell::from(plain(&incident.device)),
            Cell::from(plain(&incident.service)),
            Cell::from(plain(w.verdict_word(&incident.verdict))).style(look.alarm_if(is_grave)),
            Cell::from(plain(&incident.ban)),
        ])
    });
    let widths = [
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Fill(4),
        Constraint::Fill(3),
        Constraint::Length(14),
        Constraint::Fill(2),
    ];
    let head = Row::new([w.time, w.state, w.device, w.service, w.verdict, w.ban]).style(look.accent());
    frame.render_widget(Table::new(rows, widths).header(head), table);
    fit
}

/// The local time of the day.
pub fn clock_of(time_us: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(time_us).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// The keys that do something now.
fn foot_line(view: &View, look: &Look, first: usize, fit: usize) -> Line<'static> {
    let w = look.words;
    let mut parts = vec![Span::styled("q", look.accent()), Span::raw(format!(" {}", w.quit))];
    let count = view.incidents.len();
    if count > fit && fit > 0 {
        let keys = if look.has_symbols { "  ↑ ↓" } else { "  Up Down" };
        let last = count.min(first + fit);
        parts.push(Span::styled(keys, look.accent()));
        parts.push(Span::raw(format!(" {}  {}-{last} {} {count}", w.scroll, first + 1, w.of)));
    }
    Line::from(parts)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::events::{Coverage, Incident, News};
    use crate::metrics::{Scrape, parse};
    use crate::words::Language;

    const NOW_US: i64 = 1_795_514_950_000_000;
    const PLAIN: Look = Look { words: Language::En.words(), has_colours: true, has_symbols: true };

    fn scrape(at: Instant, packets: u64, drops: u64, interfaces: usize) -> Scrape {
        let mut text = "vigie_ready 1\nvigie_start_time_seconds 1795507000\nvigie_incidents_open 12\n\
            vigie_worker_busy_ratio{worker=\"0\"} 0.12\nvigie_worker_flows{worker=\"0\"} 12345\n\
            vigie_worker_flow_slots{worker=\"0\"} 1000000\nvigie_hellos_total{protocol=\"tls\"} 100\n\
            vigie_alerts_lost_total 0\n"
            .to_owned();
        for number in 0..interfaces {
            text.push_str(&format!(
                "vigie_interface_up{{interface=\"eth{number}\"}} 1\n\
                 vigie_capture_packets_total{{interface=\"eth{number}\"}} {packets}\n\
                 vigie_capture_bytes_total{{interface=\"eth{number}\"}} {}\n\
                 vigie_capture_drops_total{{interface=\"eth{number}\",reason=\"ring\"}} {drops}\n",
                packets * 700
            ));
        }
        Scrape { at, samples: parse(&text) }
    }

    fn incident(number: i64) -> News {
        News::Incident(Incident {
            id: format!("i{number}"),
            time_us: NOW_US - 60_000_000 + number,
            state: "opened".to_owned(),
            device: format!("10.16.0.{number}"),
            service: "TikTok".to_owned(),
            verdict: "app".to_owned(),
            ban: "fr".to_owned(),
            severity: 1,
        })
    }

    fn view(drops: u64, interfaces: usize, incidents: i64) -> (View, Instant) {
        let begin = Instant::now();
        let at = begin + Duration::from_secs(1);
        let mut view = View::default();
        view.scraped(Ok(scrape(begin, 1_000, 0, interfaces)));
        view.scraped(Ok(scrape(at, 1_235_567, drops, interfaces)));
        for minute in 2..40 {
            let end_us = NOW_US.div_euclid(60_000_000) * 60_000_000 - minute * 60_000_000;
            let blind_s = if minute == 5 { 60 } else { 0 };
            view.heard(News::Coverage(Coverage {
                interface: "eth0".to_owned(),
                end_us,
                window_s: 60,
                blind_s,
                drops_ppm: 0,
            }));
        }
        (0..incidents).for_each(|number| view.heard(incident(number)));
        view.heard(News::CaughtUp);
        (view, at)
    }

    fn drawn(view: &View, at: Instant, look: &Look, size: (u16, u16), first: usize) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        let moment = Moment { at, now_us: NOW_US, clock: "10:09:10".to_owned(), source: "127.0.0.1:19843".to_owned() };
        terminal.draw(|frame| _ = draw(frame, view, look, &moment, first)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn lines(buffer: &Buffer) -> Vec<String> {
        let width = usize::from(buffer.area.width);
        buffer.content.chunks(width).map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>()).collect()
    }

    fn screen(view: &View, at: Instant, size: (u16, u16)) -> Vec<String> {
        lines(&drawn(view, at, &PLAIN, size, 0))
    }

    #[test]
    fn everything_fits_into_80_columns_and_24_lines() {
        let (view, at) = view(0, 2, 3);
        let screen = screen(&view, at, (80, 24));
        let text = screen.join("\n");
        for wanted in [
            "vigie  127.0.0.1:19843  running for 2 h 12 min",
            "10:09:10",
            "ready",
            "eth0                 1 234 567    6.9 G         0             0   0.00 % up",
            "       12 345 of 1 000 000 flows",
            "            0 hellos/s   Busiest worker  12 %         0 events lost",
            "Last hour  seen 61.67 %, blind 1 min, with losses 0 s, not told 22 min",
            "Incidents  12 open",
            "opened    10.16.0.2",
            "TikTok",
            "application",
            "q quit",
        ] {
            assert!(text.contains(wanted), "{wanted:?} in\n{text}");
        }
        assert!(screen[23].starts_with("q quit") && !text.contains("scroll"), "{text}");
        let french = Look { words: Language::Fr.words(), ..PLAIN };
        let text_fr = lines(&drawn(&view, at, &french, (80, 24), 0)).join("\n");
        for wanted in [
            "événements perdus",
            "non signalé 22 min",
            "▒ pertes × aveugle",
            "0,00 % actif",
            "6,9 G",
            "Interdit",
            "12 en cours",
        ] {
            assert!(text_fr.contains(wanted), "{wanted:?} in\n{text_fr}");
        }
        let unknown = lines(&drawn(&View::default(), at, &french, (80, 24), 0)).join("\n");
        assert!(unknown.contains("rien ne prouve l’absence d’usage."), "{unknown}");
        let bar = screen.iter().find(|line| line.contains('█')).unwrap();
        assert_eq!(bar.chars().take(60).filter(|c| *c == '×').count(), 1, "{bar}");
    }

    #[test]
    fn columns_never_shift() {
        let places = |drops: u64, incidents: i64, size| {
            let (view, at) = view(drops, 2, incidents);
            let screen = screen(&view, at, size);
            ["bit/s", "lost/s", "share", "Device", "Verdict", "Last hour", "events lost"].map(|word| {
                let row = screen.iter().position(|line| line.contains(word)).unwrap();
                (row, screen[row].find(word).unwrap())
            })
        };
        for size in [(80, 24), (120, 40)] {
            assert_eq!(places(0, 0, size), places(123_456_789, 400, size));
        }
    }

    #[test]
    fn losses_and_failures_are_seen_without_colours_too() {
        let (mut view, at) = view(777, 1, 1);
        let find = |buffer: &Buffer, text: &str| {
            let all = lines(buffer);
            let row = all.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {all:#?}"));
            let column = all[row].find(text).unwrap();
            let column = all[row][..column].chars().count();
            buffer[(column as u16, row as u16)].style()
        };
        let bare = Look { has_colours: false, has_symbols: false, ..PLAIN };
        let buffer = drawn(&view, at, &PLAIN, (80, 24), 0);
        assert_eq!(find(&buffer, "777").fg, Some(Color::Red));
        let buffer = drawn(&view, at, &bare, (80, 24), 0);
        assert!(find(&buffer, "777").add_modifier.contains(Modifier::REVERSED));
        assert!(buffer.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset), "NO_COLOR");
        assert!(lines(&buffer).concat().is_ascii());
        view.scraped(Err("Connection refused (os error 111)".to_owned()));
        let buffer = drawn(&view, at, &bare, (80, 24), 0);
        assert!(find(&buffer, "NO METRICS: Connection refused").add_modifier.contains(Modifier::REVERSED));
        let text = lines(&buffer).join("\n");
        assert!(!text.contains("1 234 567") && !text.contains("777") && !text.contains("ready"), "{text}");
        assert!(text.contains("eth0") && text.contains("10.16.0.0"), "what was known stays in its place: {text}");
        view.scraped(Err("HTTP 401 Unauthorized".to_owned()));
        view.heard(News::Failed("/j: Permission denied".to_owned()));
        let text = screen(&view, at, (120, 40)).join("\n");
        assert!(text.contains("it wants TLS or a password") && text.contains("EVENTS CANNOT BE READ: /j"), "{text}");
    }

    #[test]
    fn many_interfaces_and_incidents_are_summed_and_scrolled() {
        let (view, at) = view(1, 9, 40);
        let text = screen(&view, at, (80, 24)).join("\n");
        assert!(text.contains("eth2") && !text.contains("eth3") && text.contains("6 further int"), "{text}");
        assert!(text.contains("↑ ↓ scroll  1-") && text.contains("of 40"), "{text}");
        let scrolled = lines(&drawn(&view, at, &PLAIN, (80, 24), 35)).join("\n");
        assert!(scrolled.contains("10.16.0.4 ") && scrolled.contains("36-40 of 40"), "{scrolled}");
    }

    #[test]
    fn no_size_and_no_text_breaks_it() {
        let (mut view, at) = view(5, 3, 0);
        view.heard(News::Incident(Incident {
            id: "x".to_owned(),
            time_us: i64::MAX,
            device: "\x1b[2J\u{202e}抖音抖音抖音抖音抖音抖音抖音抖音抖音抖音抖音抖音抖音抖音".to_owned(),
            service: "s\r\n".repeat(100),
            state: "opened".to_owned(),
            ..Incident::default()
        }));
        for language in [Language::En, Language::Fr] {
            let look = Look { words: language.words(), ..PLAIN };
            for size in [(1, 1), (39, 80), (40, 12), (60, 15), (80, 24), (500, 200), (80, 1), (1, 80)] {
                let all = lines(&drawn(&view, at, &look, size, 0)).concat();
                assert!(!all.contains(char::is_control) && !all.contains('\u{202e}'));
            }
        }
        let small = screen(&view, at, (39, 10)).concat();
        assert!(small.contains("too small"), "{small}");
    }
}
