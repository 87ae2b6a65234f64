//! Questions to a Prometheus that scrapes the sensor.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::daemon::{get, until};

/// The value of the only series of a query, once there is one. Called where the server is.
///
/// # Panics
/// There is none within a minute.
pub fn query(server: SocketAddr, query: &str) -> String {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    until(query, Duration::from_secs(60), || {
        let body = get(server, &format!("/api/v1/query?query={encoded}"));
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        if let [series] = answer["data"]["result"].as_array().map(Vec::as_slice).unwrap_or_default() {
            return series["value"][1].as_str().map(str::to_owned);
        }
        thread::sleep(Duration::from_millis(200));
        None
    })
}
