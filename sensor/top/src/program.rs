//! The command line, the terminal, and the loop.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::events::{self, News};
use crate::metrics::{self, Scrape};
use crate::screen::{Look, Moment, clock_of, draw};
use crate::sources::{self, Sources, Wanted};
use crate::view::View;
use crate::words::Language;

/// Exit codes, from `sysexits.h`.
const EXIT_SUCCESS: u8 = 0;
const EXIT_UNAVAILABLE: u8 = 69;
const EXIT_CONFIGURATION: u8 = 78;
/// How often the sensor is asked for metrics.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);
/// How often keys, events and signals are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How often the screen is drawn although nothing came.
const DRAW_INTERVAL: Duration = Duration::from_secs(1);
/// Events that wait to be shown; the reader waits for room.
const WAITING_MAX: usize = 1_024;

/// Shows a running sensor in a terminal: rates, losses, coverage, and incidents as they come.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "vigie-top",
    version,
    max_term_width = 100,
    after_help = "q quits. NO_COLOR turns colours off. The endpoint is asked without TLS and password.\n\
                  Exit codes: 0 ended; 64 wrong usage; 69 there is no terminal; 78 the configuration cannot be read."
)]
pub struct Arguments {
    /// Configuration of the sensor, which says where metrics and events are [default: /etc/vigie/vigie.toml].
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port of the sensor's metrics [default: metrics.listen, else 127.0.0.1:19843].
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
    /// Folder of the sensor's journal [default: journal.folder, else /var/lib/vigie/journal].
    #[arg(long, value_name = "FOLDER", conflicts_with = "events")]
    pub journal: Option<PathBuf>,
    /// File of events, instead of a journal [default: events.file, if there is no journal.folder].
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Language: en or fr [default: that of the environment].
    #[arg(long, value_name = "LANGUAGE", value_parser = ["en", "fr"])]
    pub lang: Option<String>,
}

fn say(text: &str) {
    let _ = io::stderr().write_all(format!("vigie-top: {text}\n").as_bytes());
}

/// Runs the program, and gives its exit code.
pub fn run(arguments: &Arguments) -> u8 {
    let wanted = Wanted {
        config: arguments.config.clone(),
        metrics: arguments.metrics,
        journal: arguments.journal.clone(),
        events: arguments.events.clone(),
    };
    let sources = match sources::find(wanted) {
        Ok(sources) => sources,
        Err(message) => {
            say(&message);
            return EXIT_CONFIGURATION;
        }
    };
    let is_dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() || is_dumb {
        let instead = sources.metrics.map_or_else(String::new, |address| format!(", or read http://{address}/metrics"));
        say(&format!("there is no terminal to draw on; start it in one (with ssh: ssh -t){instead}"));
        return EXIT_UNAVAILABLE;
    }
    match show(sources, look(arguments)) {
        Ok(()) => EXIT_SUCCESS,
        Err(error) => {
            say(&format!("the terminal: {error}"));
            EXIT_UNAVAILABLE
        }
    }
}

/// Language, colours and symbols that are wanted.
fn look(arguments: &Arguments) -> Look {
    // In the order in which the C library looks.
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| env::var(name).ok().filter(|v| !v.is_empty()));
    let locale = locale.unwrap_or_default();
    let has_symbols = has_symbols(&locale);
    let messages =
        ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(|name| env::var(name).ok().filter(|v| !v.is_empty()));
    let language = match &arguments.lang {
        Some(lang) => Language::of_locale(lang),
        // French has accents.
        None if !has_symbols => Language::En,
        None => Language::of_locale(&messages.unwrap_or_default()),
    };
    Look { words: language.words(), has_colours: wants_colours(env::var_os("NO_COLOR").as_deref()), has_symbols }
}

/// By no-color.org any value but the empty one means no.
fn wants_colours(no_color: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty)
}

fn has_symbols(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Shows the sensor until somebody ends it. The terminal is as before then, also after a panic.
fn show(sources: Sources, look: Look) -> io::Result<()> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let source = sources.metrics.map_or_else(|| "-".to_owned(), |address| address.to_string());
    let scrapes = start_scraping(&sources)?;
    let news = start_following(sources)?;
    let terminal = ratatui::try_init()?;
    let result = follow(terminal, &look, source, &scrapes, &news, &ended);
    ratatui::try_restore()?;
    result
}

fn start_scraping(sources: &Sources) -> io::Result<Receiver<Result<Scrape, String>>> {
    let (sender, scrapes) = sync_channel(4);
    let Some(address) = sources.metrics else {
        let _ = sender.send(Err("metrics.listen is empty".to_owned()));
        return Ok(scrapes);
    };
    thread::Builder::new().name("scrape".to_owned()).spawn(move || {
        loop {
            let began = Instant::now();
            if sender.send(metrics::scrape(address).map_err(|error| error.to_string())).is_err() {
                return;
            }
            thread::sleep(SCRAPE_INTERVAL.saturating_sub(began.elapsed()));
        }
    })?;
    Ok(scrapes)
}

fn start_following(sources: Sources) -> io::Result<Receiver<News>> {
    let (sender, news) = sync_channel(WAITING_MAX);
    thread::Builder::new().name("events".to_owned()).spawn(move || events::follow(&sources.events, &sender))?;
    Ok(news)
}

fn follow(
    mut terminal: DefaultTerminal,
    look: &Look,
    source: String,
    scrapes: &Receiver<Result<Scrape, String>>,
    news: &Receiver<News>,
    ended: &AtomicBool,
) -> io::Result<()> {
    let mut view = View::default();
    let (mut first, mut fit) = (0_usize, 0_usize);
    let mut drawn: Option<Instant> = None;
    while !ended.load(Relaxed) {
        let mut is_changed = false;
        for scrape in scrapes.try_iter() {
            view.scraped(scrape);
            is_changed = true;
        }
        for one in news.try_iter().take(WAITING_MAX) {
            is_changed |= one != News::CaughtUp || !view.is_caught_up || view.events_error.is_some();
            view.heard(one);
        }
        if is_changed || drawn.is_none_or(|drawn| drawn.elapsed() >= DRAW_INTERVAL) {
            let now_us = jiff::Timestamp::now().as_microsecond();
            let clock = clock_of(now_us);
            let moment = Moment { at: Instant::now(), now_us, clock, source: source.clone() };
            terminal.draw(|frame| fit = draw(frame, &view, look, &moment, first))?;
            drawn = Some(Instant::now());
        }
        if !event::poll(LOOK_INTERVAL)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if is_end(&key) => return Ok(()),
            Event::Key(key) => {
                first = scrolled(first, fit, view.incidents.len(), &key);
                drawn = None;
            }
            Event::Resize(..) => drawn = None,
            _ => {}
        }
    }
    Ok(())
}

fn is_end(key: &KeyEvent) -> bool {
    let is_control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) || is_control_c
}

/// The first incident to show after a key.
fn scrolled(first: usize, fit: usize, count: usize, key: &KeyEvent) -> usize {
    if key.kind == KeyEventKind::Release {
        return first;
    }
    let page = fit.max(1);
    let wanted = match key.code {
        KeyCode::Up | KeyCode::Char('k') => first.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => first + 1,
        KeyCode::PageUp => first.saturating_sub(page),
        KeyCode::PageDown => first + page,
        KeyCode::Home => 0,
        KeyCode::End => count,
        _ => first,
    };
    wanted.min(count.saturating_sub(fit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrolling_stays_in_the_list() {
        let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
        assert_eq!(scrolled(0, 10, 5, &key(KeyCode::Down)), 0);
        assert_eq!(scrolled(0, 10, 15, &key(KeyCode::Down)), 1);
        assert_eq!(scrolled(0, 10, 15, &key(KeyCode::PageDown)), 5);
        assert_eq!(scrolled(5, 10, 15, &key(KeyCode::End)), 5);
        assert_eq!(scrolled(5, 10, 15, &key(KeyCode::Home)), 0);
        assert_eq!(scrolled(0, 10, 15, &key(KeyCode::Up)), 0);
        assert_eq!(scrolled(0, 0, 0, &key(KeyCode::End)), 0);
    }

    #[test]
    fn the_environment_says_whether_colours_and_symbols_are_wanted() {
        assert!(wants_colours(None) && wants_colours(Some(OsStr::new(""))) && !wants_colours(Some(OsStr::new("1"))));
        assert!(has_symbols("fr_FR.UTF-8") && has_symbols("C.utf8") && !has_symbols("C") && !has_symbols("fr_FR"));
    }
}
