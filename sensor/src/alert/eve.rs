//! Events as Suricata EVE JSON.
