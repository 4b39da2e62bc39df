package tintype.peer;

import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;

/**
 * {@link Differential} on a real broker: the same aggregation with RocksDB, changelogs and
 * transactions, until a number of records is processed.
 *
 * <p>The windows that it writes are those of the output topic, which it reads back as a reader of
 * committed records. One thread: a task that moves to another one forgets its stream time.
 */
public final class OnBroker {
    private final Map<String, String> options;
    private final Spec spec;
    private final Serde<Windowed<String>> windowed;
    private final Map<Integer, Ledger> ledgers = new ConcurrentHashMap<>();

    private OnBroker(Map<String, String> options) {
        this.options = options;
        this.spec = Spec.parse(options.get("spec"));
        this.windowed = spec.kind() == Spec.Kind.SESSION
            ? WindowedSerdes.sessionWindowedSerdeFrom(String.class)
            : WindowedSerdes.timeWindowedSerdeFrom(String.class, spec.sizeMs());
    }

    public static void main(String[] args) throws Exception {
        OnBroker run = new OnBroker(Application.options(args,
            "bootstrap", "input", "output", "application", "spec", "records", "result"));
        run.process();
        run.write(run.readBack());
    }

    private void process() throws Exception {
        AtomicLong remaining = new AtomicLong(Long.parseLong(options.get("records")));
        CompletableFuture<Void> done = new CompletableFuture<>();
        Runnable processed = () -> {
            if (remaining.decrementAndGet() == 0) {
                done.complete(null);
            }
        };
        StreamsBuilder builder = new StreamsBuilder();
        Aggregation.build(builder, options.get("input"), spec, Aggregation.State.ROCKSDB,
                task -> ledgers.computeIfAbsent(task.partition(), p -> new Ledger(processed)))
            .process(WithPartition::new)
            .to(options.get("output"), Produced.with(windowed, Totals.SERDE));
        try (Scratch state = new Scratch()) {
            Properties config = Application.config(options.get("bootstrap"), options.get("application"),
                StreamsConfig.EXACTLY_ONCE_V2, 1, state.dir());
            config.put(Aggregation.CLOSING_INTERVAL_MS, 0L);
            Application.run(builder.build(), config, done);
        }
    }

    /** Puts the partition before the key: a key may occur in several, and has windows in each. */
    private static final class WithPartition
        extends ContextualProcessor<Windowed<String>, Totals, Windowed<String>, Totals> {
        @Override
        public void process(Record<Windowed<String>, Totals> record) {
            Windowed<String> window = record.key();
            String key = context().taskId().partition() + "\t" + window.key();
            context().forward(record.withKey(new Windowed<>(key, window.window())));
        }
    }

    /**
     * Returns the last totals of each window in the output topic, which has its last record. The end is
     * that of all records: a transaction is committed before its partitions know, and the end of the
     * committed ones may be short of it.
     */
    private Map<Windowed<String>, Totals> readBack() throws Exception {
        Map<String, Object> config = Map.of(
            ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, options.get("bootstrap"),
            ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        Map<Windowed<String>, Totals> last = new LinkedHashMap<>();
        try (KafkaConsumer<Windowed<String>, Totals> consumer =
            new KafkaConsumer<>(config, windowed.deserializer(), Totals.SERDE.deserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(options.get("output")).stream()
                .map(info -> new TopicPartition(info.topic(), info.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, ListOffsetsResultInfo> ends = endsOf(partitions);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p).offset())) {
                for (ConsumerRecord<Windowed<String>, Totals> record : consumer.poll(Duration.ofSeconds(1))) {
                    if (record.value() == null) {
                        last.remove(record.key());
                    } else {
                        last.put(record.key(), record.value());
                    }
                }
            }
        }
        return last;
    }

    private Map<TopicPartition, ListOffsetsResultInfo> endsOf(List<TopicPartition> partitions) throws Exception {
        Map<TopicPartition, OffsetSpec> wanted = new HashMap<>();
        partitions.forEach(p -> wanted.put(p, OffsetSpec.latest()));
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", options.get("bootstrap")))) {
            return admin.listOffsets(wanted, new ListOffsetsOptions(IsolationLevel.READ_UNCOMMITTED)).all().get();
        }
    }

    private void write(Map<Windowed<String>, Totals> last) throws IOException {
        try (JsonGenerator out = Differential.jsonLines(Path.of(options.get("result")))) {
            for (Map.Entry<Windowed<String>, Totals> entry : last.entrySet()) {
                String[] key = entry.getKey().key().split("\t", 2);
                Windowed<String> window = new Windowed<>(key[1], entry.getKey().window());
                Ledger.writeWindow(out, Integer.parseInt(key[0]), window, entry.getValue(), false);
            }
            for (Map.Entry<Integer, Ledger> entry : ledgers.entrySet()) {
                entry.getValue().write(out, entry.getKey());
            }
        }
    }
}
