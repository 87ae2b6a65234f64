-- Where lines come from. Put in the brokers, and in the server's configuration how to sign in (<kafka> with sasl and ssl). A line
-- that cannot be read does not stop the others: 3-views.sql keeps only what is an object.

CREATE TABLE IF NOT EXISTS vigie.kafka
(
    line String
)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = 'kafka-1:9093,kafka-2:9093,kafka-3:9093',
    kafka_topic_list = 'vigie-events',
    kafka_group_name = 'vigie-clickhouse',
    kafka_format = 'LineAsString',
    kafka_num_consumers = 1,
    kafka_max_block_size = 65536;

CREATE MATERIALIZED VIEW IF NOT EXISTS vigie.from_kafka TO vigie.lines AS
SELECT line FROM vigie.kafka;
