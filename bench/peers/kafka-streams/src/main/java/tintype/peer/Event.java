package tintype.peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * One line of an event file: {@code {"p":partition,"t":event time in ms,"k":key,"v":integer}}.
 *
 * <p>In a topic the key is the record's key, and the record's value is the event time and the
 * integer, 8 bytes each, big-endian.
 */
record Event(int partition, long timeMs, String key, long value) {
    private static final JsonFactory JSON = new JsonFactory();

    static Event parse(String line) throws IOException {
        int partition = 0;
        long time = -1;
        long value = 0;
        String key = null;
        try (JsonParser parser = JSON.createParser(line)) {
            parser.nextToken();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String field = parser.currentName();
                parser.nextToken();
                switch (field) {
                    case "p" -> partition = parser.getIntValue();
                    case "t" -> time = parser.getLongValue();
                    case "k" -> key = parser.getText();
                    case "v" -> value = parser.getLongValue();
                    default -> parser.skipChildren();
                }
            }
        }
        if (key == null || time < 0) {
            throw new IOException("an event needs a key and a time since 1970: " + line);
        }
        return new Event(partition, time, key, value);
    }

    byte[] payload() {
        return ByteBuffer.allocate(2 * Long.BYTES).putLong(timeMs).putLong(value).array();
    }

    static long timeOf(byte[] payload) {
        return ByteBuffer.wrap(payload).getLong(0);
    }

    static long valueOf(byte[] payload) {
        return ByteBuffer.wrap(payload).getLong(Long.BYTES);
    }
}
