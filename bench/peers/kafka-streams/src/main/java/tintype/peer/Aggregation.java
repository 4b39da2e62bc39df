package tintype.peer;

import java.time.Duration;
import java.util.function.Function;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.TaskId;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Kafka Streams' own windowed aggregation between two nodes that keep a {@link Ledger} for each
 * task. No key changes on the way, so that no topic lies between: a task does one partition.
 */
final class Aggregation {
    private static final String STORE = "windows";
    private static final String CLOSING_STORE = "closing-windows";

    /** How often Kafka Streams looks for windows to close, by the clock; 0: after every record. */
    static final String CLOSING_INTERVAL_MS =
        StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_WINDOWED_AGGREGATION;

    /** Longer than any run: a store that forgets drops records that the window's rules accept. */
    private static final Duration RETENTION = Duration.ofDays(3650);

    private Aggregation() {}

    /** Where the windows live. The rules are the same; the stores' own conditions are not. */
    enum State { MEMORY, ROCKSDB }

    /** Returns the updates of all windows; a session that became part of another one has none. */
    static KStream<Windowed<String>, Totals> build(
        StreamsBuilder builder, String topic, Spec spec, State state, Function<TaskId, Ledger> ledgers) {
        KStream<String, byte[]> events = builder.stream(topic,
            Consumed.with(Serdes.String(), Serdes.ByteArray()).withTimestampExtractor(new EventTime()));
        KGroupedStream<String, byte[]> grouped = events.processValues(() -> new Begin(spec, ledgers)).groupByKey();
        if (spec.kind() == Spec.Kind.SESSION) {
            return grouped.windowedBy(spec.sessionWindows())
                .aggregate(() -> Totals.NONE, Aggregation::add, (key, a, b) -> a.plus(b),
                    configure(Materialized.as(state == State.MEMORY
                        ? Stores.inMemorySessionStore(STORE, RETENTION)
                        : Stores.persistentSessionStore(STORE, RETENTION)), state))
                .toStream()
                .processValues(() -> new Note(ledgers, Ledger::update));
        }
        // Beside Begin, which would count the late records of both.
        events.groupByKey().windowedBy(spec.timeWindows())
            .emitStrategy(EmitStrategy.onWindowClose())
            .aggregate(() -> Totals.NONE, Aggregation::add, windowStore(CLOSING_STORE, spec, state))
            .toStream()
            .processValues(() -> new Note(ledgers, Ledger::close));
        return grouped.windowedBy(spec.timeWindows())
            .aggregate(() -> Totals.NONE, Aggregation::add, windowStore(STORE, spec, state))
            .toStream()
            .processValues(() -> new Note(ledgers, Ledger::update));
    }

    private static Totals add(String key, byte[] payload, Totals totals) {
        return totals.plus(Event.valueOf(payload));
    }

    private static Materialized<String, Totals, WindowStore<Bytes, byte[]>> windowStore(
        String name, Spec spec, State state) {
        Duration size = Duration.ofMillis(spec.sizeMs());
        return configure(Materialized.as(state == State.MEMORY
            ? Stores.inMemoryWindowStore(name, RETENTION, size, false)
            : Stores.persistentTimestampedWindowStore(name, RETENTION, size, false)), state);
    }

    /** Caches would hold updates back. Only what is to survive the process has a changelog. */
    private static <S extends StateStore> Materialized<String, Totals, S> configure(
        Materialized<String, Totals, S> store, State state) {
        store.withKeySerde(Serdes.String()).withValueSerde(Totals.SERDE).withCachingDisabled();
        return state == State.MEMORY ? store.withLoggingDisabled() : store;
    }

    /** Opens a record in the ledger, passes it on, and closes it when all its work is done. */
    private static final class Begin extends ContextualFixedKeyProcessor<String, byte[], byte[]> {
        private final Spec spec;
        private final TimeWindows windows;
        private final Function<TaskId, Ledger> ledgers;
        private Ledger ledger;
        private Metric dropped;

        Begin(Spec spec, Function<TaskId, Ledger> ledgers) {
            this.spec = spec;
            this.windows = spec.kind() == Spec.Kind.SESSION ? null : spec.timeWindows();
            this.ledgers = ledgers;
        }

        @Override
        public void init(FixedKeyProcessorContext<String, byte[]> context) {
            super.init(context);
            ledger = ledgers.apply(context.taskId());
        }

        @Override
        public void process(FixedKeyRecord<String, byte[]> record) {
            if (dropped == null) {
                // It is registered by a node that starts after this one.
                dropped = findDropped();
            }
            long before = count();
            ledger.begin();
            context().forward(record);
            long delta = count() - before;
            long offset = context().recordMetadata().orElseThrow().offset();
            if (windows == null) {
                ledger.end(offset, record.key(), record.timestamp(), delta);
            } else {
                ledger.end(offset, record.key(), record.timestamp(),
                    windows.windowsFor(record.timestamp()).values(), delta);
            }
        }

        private long count() {
            return ((Double) dropped.metricValue()).longValue();
        }

        private Metric findDropped() {
            String task = context().taskId().toString();
            for (var entry : context().metrics().metrics().entrySet()) {
                if (entry.getKey().name().equals("dropped-records-total")
                    && task.equals(entry.getKey().tags().get("task-id"))) {
                    return entry.getValue();
                }
            }
            throw new IllegalStateException("task " + task + " of " + spec + " counts no dropped records");
        }
    }

    /** Notes in the ledger what comes by. */
    private static final class Note extends ContextualFixedKeyProcessor<Windowed<String>, Totals, Totals> {
        private final Function<TaskId, Ledger> ledgers;
        private final Entry entry;
        private Ledger ledger;

        Note(Function<TaskId, Ledger> ledgers, Entry entry) {
            this.ledgers = ledgers;
            this.entry = entry;
        }

        @Override
        public void init(FixedKeyProcessorContext<Windowed<String>, Totals> context) {
            super.init(context);
            ledger = ledgers.apply(context.taskId());
        }

        @Override
        public void process(FixedKeyRecord<Windowed<String>, Totals> record) {
            entry.write(ledger, record.key(), record.value());
            context().forward(record);
        }
    }

    private interface Entry {
        void write(Ledger ledger, Windowed<String> window, Totals totals);
    }
}
