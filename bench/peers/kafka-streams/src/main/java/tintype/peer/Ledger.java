package tintype.peer;

import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.streams.kstream.Window;
import org.apache.kafka.streams.kstream.Windowed;

/**
 * What one task did: the last update of each window, and the pairs of record and window that were
 * late. A record of a session is late as such, without a window.
 *
 * <p>Kafka Streams names no late pair, it only counts them. With the caches off it does all work of
 * a record before it returns to the node before, so the windows that changed between {@link #begin}
 * and {@link #end} are this record's. Those that it belongs to and that did not change are late.
 * Their number is held against the one that Kafka Streams counted.
 */
final class Ledger {
    private final Map<Windowed<String>, Totals> last = new LinkedHashMap<>();
    private final Map<Windowed<String>, Totals> closed = new HashMap<>();
    private final List<Late> late = new ArrayList<>();
    private final Set<Window> updated = new HashSet<>();

    private final Runnable processed;

    private record Late(long offset, String key, long timeMs, Window window) {}

    /** Makes a ledger that tells when a record is processed. */
    Ledger(Runnable processed) {
        this.processed = processed;
    }

    void begin() {
        updated.clear();
    }

    /** Takes an update. Without totals, the session has become part of another one. */
    void update(Windowed<String> window, Totals totals) {
        if (totals == null) {
            last.remove(window);
            return;
        }
        updated.add(window.window());
        last.put(window, totals);
    }

    /** Takes the result of a window that has closed. */
    void close(Windowed<String> window, Totals totals) {
        if (closed.put(window, totals) != null) {
            throw new IllegalStateException("window " + window + " closed twice");
        }
    }

    /** Ends a record that belongs to windows whose bounds its time alone gives. */
    void end(long offset, String key, long timeMs, Collection<? extends Window> belongsTo, long dropped) {
        int before = late.size();
        int found = 0;
        for (Window window : belongsTo) {
            if (updated.contains(window)) {
                found++;
            } else {
                late.add(new Late(offset, key, timeMs, window));
            }
        }
        settle(found == updated.size() && late.size() - before == dropped, offset, dropped);
    }

    /** Ends a record of a session. */
    void end(long offset, String key, long timeMs, long dropped) {
        if (updated.isEmpty()) {
            late.add(new Late(offset, key, timeMs, null));
        }
        settle(updated.size() + dropped == 1, offset, dropped);
    }

    private void settle(boolean holds, long offset, long dropped) {
        if (!holds) {
            throw new IllegalStateException("record " + offset + ": " + updated.size()
                + " windows were updated and " + dropped + " dropped, which is not what it belongs to");
        }
        processed.run();
    }

    Map<Windowed<String>, Totals> last() {
        return last;
    }

    /** Writes one line for each window that has closed, then one for each late pair. */
    void write(JsonGenerator out, int partition) throws IOException {
        for (Map.Entry<Windowed<String>, Totals> entry : closed.entrySet()) {
            writeWindow(out, partition, entry.getKey(), entry.getValue(), true);
        }
        for (Late pair : late) {
            out.writeStartObject();
            out.writeNumberField("p", partition);
            out.writeNumberField("late", pair.offset());
            out.writeStringField("k", pair.key());
            out.writeNumberField("t", pair.timeMs());
            if (pair.window() != null) {
                out.writeNumberField("start", pair.window().start());
                out.writeNumberField("end", pair.window().end());
            }
            out.writeEndObject();
        }
    }

    static void writeWindow(
        JsonGenerator out, int partition, Windowed<String> window, Totals totals, boolean closed) throws IOException {
        out.writeStartObject();
        out.writeNumberField("p", partition);
        out.writeStringField("k", window.key());
        out.writeNumberField("start", window.window().start());
        out.writeNumberField("end", window.window().end());
        out.writeNumberField("count", totals.count());
        out.writeNumberField("sum", totals.sum());
        out.writeNumberField("min", totals.min());
        out.writeNumberField("max", totals.max());
        if (closed) {
            out.writeBooleanField("closed", true);
        }
        out.writeEndObject();
    }
}
