//! Times of look-ups, and how they change with the number of rules. Run with `cargo bench -p vigie-signatures`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use std::hint::black_box;
use std::time::Instant;
use vigie_signatures::{Bundle, LoadOptions, SourceText, normalise};

/// Nanoseconds per name: the lower quartile of short runs over all names, which other work on the machine disturbs least.
fn time(names: &[String], look: impl Fn(&str) -> bool) -> f64 {
    let mut times: Vec<f64> = Vec::new();
    for run in names.chunks(2_000) {
        let start = Instant::now();
        let found = run.iter().filter(|name| look(black_box(name))).count();
        times.push(start.elapsed().as_secs_f64() * 1e9 / run.len() as f64);
        black_box(found);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 4]
}

/// Small generator: names must be the same in every run.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn synthetic(rules: usize) -> Bundle {
    let mut text = String::from(
        "service = \"synthetic\"\nname = \"Synthetic\"\nbase = 7900000\nreviewed = \"2026-11-21\"\n[[names]]\n\
         role = \"web\"\nsignal = \"web\"\nconfidence = \"high\"\nsources = [\"bench\"]\nsuffix = [\n",
    );
    for number in 0..rules {
        text.push_str(&format!("\"site-{number:07}.com\",\n"));
    }
    text.push_str("]\n");
    let options = LoadOptions { builtin: false, ..LoadOptions::default() };
    let start = Instant::now();
    let layer = vec![SourceText { label: "bench".into(), text }];
    let bundle = Bundle::from_texts(&[layer], options).expect("sound").0;
    println!("{rules} rules read in {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    bundle
}

fn main() {
    let start = Instant::now();
    let builtin = Bundle::builtin();
    println!("built-in: {} rules read in {:.1} ms", builtin.len(), start.elapsed().as_secs_f64() * 1e3);
    let mut state = 0x5eed;
    let misses: Vec<String> =
        (0..200_000).map(|_| format!("www.shop-{:07}.com", random(&mut state) % 10_000_000)).collect();
    let own: Vec<String> = [
        "www.tiktok.com",
        "api16-normal-no1a.tiktokv.eu",
        "unheard.of.tiktokv.com",
        "v16-webapp.tiktok.com",
        "aggr16-normal-useast1a.us.tiktokv.com",
    ]
    .iter()
    .cycle()
    .take(200_000)
    .map(|name| (*name).to_owned())
    .collect();
    println!("built-in: miss {:.0} ns", time(&misses, |name| builtin.name(name).is_some()));
    println!("built-in: hit and pattern {:.0} ns", time(&own, |name| builtin.name(name).is_some()));
    for (name, _) in own.iter().zip(0..5) {
        let one = vec![name.clone(); 200_000];
        println!("built-in: {name} {:.0} ns", time(&one, |name| builtin.name(name).is_some()));
    }
    println!("built-in: explain miss {:.0} ns", time(&misses, |name| builtin.explain(name).alerts));
    println!("built-in: explain hit {:.0} ns", time(&own, |name| builtin.explain(name).alerts));
    let wire: Vec<String> = own.iter().map(|name| name.to_uppercase()).collect();
    println!(
        "normalise {:.0} ns",
        time(&wire, |name| normalise(name.as_bytes(), &mut [0; 256]) == vigie_signatures::Name::NotAHostName)
    );
    let address: std::net::IpAddr = "71.18.6.7".parse().expect("an address");
    println!("address {:.0} ns", time(&own, |_| builtin.address(black_box(address)).is_some()));

    let mut first = None;
    for rules in [1_000, 10_000, 100_000, 1_000_000] {
        let bundle = synthetic(rules);
        let hits: Vec<String> =
            (0..200_000).map(|_| format!("www.site-{:07}.com", random(&mut state) % rules as u64)).collect();
        let miss = time(&misses, |name| bundle.name(name).is_some());
        let hit = time(&hits, |name| bundle.name(name).is_some());
        let ratio = miss / *first.get_or_insert(miss);
        println!("{rules} rules: miss {miss:.0} ns ({ratio:.2} times the first), hit {hit:.0} ns");
    }
}
