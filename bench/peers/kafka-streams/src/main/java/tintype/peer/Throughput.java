package tintype.peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;

/**
 * Measures windowed counts by key on a broker: the time from the first record to the last one
 * processed, and to the last one committed. Everything that is not an option is as Kafka Streams
 * has it by default: RocksDB, changelog, caches.
 *
 * <p>A record's timestamp is its event time; records with headers are another program's control
 * records and are not counted. Updates go to the output topic. The result is one line of JSON.
 */
public final class Throughput {
    private final long records;
    private final AtomicLong processed = new AtomicLong();
    private final Map<TopicPartition, Long> ends = new ConcurrentHashMap<>();
    private final CompletableFuture<Void> done = new CompletableFuture<>();
    private volatile long firstNanos;
    private volatile long lastNanos;
    private volatile long committedNanos;

    private Throughput(long records) {
        this.records = records;
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> options = Application.options(args, "bootstrap", "input", "output", "application",
            "guarantee", "commit-interval-ms", "spec", "threads", "records");
        Throughput run = new Throughput(Long.parseLong(options.get("records")));
        int threads = Integer.parseInt(options.get("threads"));
        try (Scratch state = new Scratch()) {
            Properties config = Application.config(options.get("bootstrap"), options.get("application"),
                options.get("guarantee"), threads, state.dir());
            config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, options.get("commit-interval-ms"));
            CompletableFuture<Void> committed = run.done.thenRunAsync(
                () -> run.awaitCommit(options.get("bootstrap"), options.get("application")));
            Application.run(run.topology(Spec.parse(options.get("spec")), options).build(), config, committed);
        }
        run.print(options.get("guarantee"), threads);
    }

    private StreamsBuilder topology(Spec spec, Map<String, String> options) {
        if (spec.kind() == Spec.Kind.SESSION) {
            throw new IllegalArgumentException("only tumbling and hopping windows are measured");
        }
        StreamsBuilder builder = new StreamsBuilder();
        builder
            .stream(options.get("input"), Consumed.with(Serdes.String(), Serdes.ByteArray()))
            .processValues(Clock::new)
            .groupByKey()
            .windowedBy(spec.timeWindows())
            .count(Materialized.as("counts"))
            .toStream()
            .to(options.get("output"), Produced.with(
                WindowedSerdes.timeWindowedSerdeFrom(String.class, spec.sizeMs()), Serdes.Long()));
        return builder;
    }

    /** Stops the time around all work of a record. */
    private final class Clock extends ContextualFixedKeyProcessor<String, byte[], byte[]> {
        @Override
        public void process(FixedKeyRecord<String, byte[]> record) {
            if (processed.get() == 0) {
                firstNanos = System.nanoTime();
            }
            if (record.headers().toArray().length == 0) {
                context().forward(record);
            }
            var metadata = context().recordMetadata().orElseThrow();
            ends.put(new TopicPartition(metadata.topic(), metadata.partition()), metadata.offset() + 1);
            if (processed.incrementAndGet() == records) {
                lastNanos = System.nanoTime();
                done.complete(null);
            }
        }
    }

    /** Asks the broker until the group's offsets are past every record that was processed. */
    private void awaitCommit(String bootstrap, String group) {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            boolean all = false;
            while (!all) {
                Map<TopicPartition, OffsetAndMetadata> at =
                    admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                all = ends.entrySet().stream().allMatch(
                    end -> at.get(end.getKey()) != null && at.get(end.getKey()).offset() >= end.getValue());
                committedNanos = System.nanoTime();
                TimeUnit.MILLISECONDS.sleep(5);
            }
        } catch (Exception e) {
            throw new IllegalStateException("read the offsets of group " + group, e);
        }
    }

    private void print(String guarantee, int threads) throws Exception {
        double seconds = (lastNanos - firstNanos) / 1e9;
        double committed = (committedNanos - firstNanos) / 1e9;
        try (JsonGenerator out = new JsonFactory().createGenerator(System.out)) {
            out.writeStartObject();
            out.writeStringField("peer", "kafka-streams");
            out.writeStringField("version", AppInfoParser.getVersion());
            out.writeStringField("guarantee", guarantee);
            out.writeNumberField("threads", threads);
            out.writeNumberField("records", records);
            out.writeNumberField("seconds", seconds);
            out.writeNumberField("records_per_s", Math.round(records / seconds));
            out.writeNumberField("committed_seconds", committed);
            out.writeNumberField("committed_records_per_s", Math.round(records / committed));
            out.writeEndObject();
            out.writeRaw('\n');
        }
    }
}
