package tintype.peer;

import java.time.Duration;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * The windows of one run. All lengths are in ms; those that the kind has no use for are 0.
 *
 * <pre>
 * tumbling:SIZE:GRACE
 * hopping:SIZE:ADVANCE:GRACE
 * session:GAP:GRACE
 * </pre>
 */
record Spec(Kind kind, long sizeMs, long advanceMs, long gapMs, long graceMs) {

    enum Kind { TUMBLING, HOPPING, SESSION }

    static Spec parse(String text) {
        String[] part = text.split(":");
        long[] ms = new long[part.length];
        try {
            for (int i = 1; i < part.length; i++) {
                ms[i] = Long.parseLong(part[i]);
            }
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException("window specification " + text + ": lengths are whole milliseconds", e);
        }
        return switch (part[0] + "/" + part.length) {
            case "tumbling/3" -> new Spec(Kind.TUMBLING, ms[1], ms[1], 0, ms[2]);
            case "hopping/4" -> new Spec(Kind.HOPPING, ms[1], ms[2], 0, ms[3]);
            case "session/3" -> new Spec(Kind.SESSION, 0, 0, ms[1], ms[2]);
            default -> throw new IllegalArgumentException("window specification " + text
                + ": want tumbling:SIZE:GRACE, hopping:SIZE:ADVANCE:GRACE or session:GAP:GRACE");
        };
    }

    /** Tumbling windows are hopping ones that advance by their size. */
    TimeWindows timeWindows() {
        return TimeWindows.ofSizeAndGrace(Duration.ofMillis(sizeMs), Duration.ofMillis(graceMs))
            .advanceBy(Duration.ofMillis(advanceMs));
    }

    SessionWindows sessionWindows() {
        return SessionWindows.ofInactivityGapAndGrace(Duration.ofMillis(gapMs), Duration.ofMillis(graceMs));
    }
}
