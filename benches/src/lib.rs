//! Benches of the sensor.
