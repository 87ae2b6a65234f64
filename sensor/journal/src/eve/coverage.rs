//! Coverage as EVE `stats` of one interface. Suricata has no fields for it but flow integers, which may be anything.

use crate::json::Object;
use crate::record::Coverage;

/// Appends the coverage of an interface as one line, newline included.
pub fn encode_coverage(coverage: &Coverage, host: Option<&str>, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.time("timestamp", coverage.timestamp_ns);
    object.text("event_type", "stats");
    object.text("in_iface", &coverage.interface);
    object.optional_text("host", host);
    let mut stats = object.object("stats");
    stats.number("uptime", coverage.uptime_s);
    let mut capture = stats.object("capture");
    capture.number("kernel_packets", coverage.kernel_packets);
    capture.number("kernel_drops", coverage.kernel_drops);
    capture.number("kernel_ifdrops", coverage.kernel_ifdrops);
    capture.close();
    stats.close();
    let mut metadata = object.object("metadata");
    if !coverage.words.is_empty() {
        metadata.texts("flowbits", coverage.words.iter().copied());
    }
    let mut window = metadata.object("flowints");
    for (key, number) in [
        ("vigie.window_s", coverage.window_s),
        ("vigie.blind_s", coverage.blind_s),
        ("vigie.packets", coverage.packets),
        ("vigie.drops_ring", coverage.drops_ring),
        ("vigie.drops_interface", coverage.drops_interface),
        ("vigie.drops_ppm", coverage.drops_ppm()),
        ("vigie.hellos", coverage.hellos),
        ("vigie.hellos_nameless", coverage.hellos_nameless),
        ("vigie.hellos_ech", coverage.hellos_ech),
    ] {
        window.number(key, number);
    }
    if let Some((listed, seen)) = coverage.assets {
        window.number("vigie.assets_listed", listed);
        window.number("vigie.assets_seen", seen);
    }
    window.text("vigie.policy", &coverage.policy);
    window.text("vigie.signatures", &coverage.signatures);
    window.close();
    metadata.close();
    object.close();
    out.push(b'\n');
}
