//! The names that made-up traffic contacts: many harmless ones, and a few for which the built-in signatures raise alerts.

/// Names that no signature knows, most contacted first.
#[rustfmt::skip]
pub const HARMLESS: &[&str] = &[
    "outlook.example.com", "www.example.com", "login.example.com", "updates.example.net", "cdn.example.net",
    "fonts.example.net", "static.example.org", "api.example.org", "telemetry.example.com", "mail.example.org",
    "www.wikipedia.org", "upload.wikimedia.org", "en.wikipedia.org", "www.openstreetmap.org", "tile.openstreetmap.org",
    "deb.debian.org", "security.debian.org", "archive.ubuntu.com", "pypi.org", "files.pythonhosted.org",
    "static.rust-lang.org", "index.crates.io", "registry.npmjs.org", "www.ietf.org", "datatracker.ietf.org",
    "www.mozilla.org", "addons.mozilla.org", "www.kernel.org", "git.kernel.org", "www.iana.org",
    "intranet.example.edu", "library.example.edu", "moodle.example.edu", "webmail.example.edu", "sso.example.edu",
    "vpn.example.org", "meet.example.org", "chat.example.org", "files.example.org", "wiki.example.org",
    "news.example.net", "weather.example.net", "maps.example.net", "video.example.net", "music.example.net",
    "img-01.cdn.example.net", "img-02.cdn.example.net", "img-03.cdn.example.net", "js.cdn.example.net",
    "edge-paris-17.cdn.example.net", "edge-frankfurt-4.cdn.example.net", "a248.edge.example.net",
    "s3.eu-west-3.storage.example.com", "tenant-4711.crm.example.com", "eu-1.collaboration.example.com",
    "time.example.org", "crl.example.net", "ocsp.example.net", "push.example.net", "ads.example.net",
    "bank.example", "tax.example", "health.example", "travel.example", "books.example", "shop.example",
    "a-rather-long-host-name-of-a-content-network-7f3a9c.region-2.delivery.example.com",
    "x.example", "q.example.org", "xn--bcher-kva.example",
];

/// Banned names.
#[rustfmt::skip]
pub const BANNED: &[&str] = &[
    "www.tiktok.com", "api16-normal-c-useast1a.tiktokv.com", "log16-normal-useast5.tiktokv.us", "v16-webapp.tiktok.com",
    "www.capcut.com", "www.lemon8-app.com", "www.douyin.com", "web.snapchat.com", "www.netflix.com",
];

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_signatures::Bundle;

    #[test]
    fn signatures_know_the_banned_and_not_the_harmless() {
        let bundle = Bundle::builtin();
        for name in HARMLESS {
            assert!(bundle.name(name).is_none() && bundle.dns_name(name).is_none(), "{name}");
        }
        for name in BANNED {
            assert!(bundle.name(name).is_some_and(|rule| rule.raises_alert()), "{name}");
        }
    }
}
