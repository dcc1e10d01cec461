package kappa.format;

import java.io.IOException;
import java.util.Arrays;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.StreamReadConstraints;
import org.apache.flink.table.data.GenericRowData;

/**
 * Reads one document of JSON, strictly as RFC 8259 has it, or says why it is none.
 *
 * <p>What is wrong with the document as a whole comes first: a document that is cut off is so too where a field before the
 * cut would have been rejected.
 */
final class JsonDocument {

    /** Objects and arrays may be nested so deep, also in fields that are not read. */
    static final int MAX_DEPTH = 100;

    private static final byte[] BOM = {(byte) 0xef, (byte) 0xbb, (byte) 0xbf};
    private static final int SNIFFED = 4;

    private final JsonRecord record;
    private final JsonFactory factory =
            JsonFactory.builder()
                    // Otherwise names whose hashes are equal fail a document, depending on those before it.
                    .disable(JsonFactory.Feature.FAIL_ON_SYMBOL_HASH_OVERFLOW)
                    .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
                    .streamReadConstraints(
                            StreamReadConstraints.builder()
                                    .maxNestingDepth(MAX_DEPTH)
                                    .maxNameLength(Integer.MAX_VALUE)
                                    .maxNumberLength(Integer.MAX_VALUE)
                                    .maxStringLength(Integer.MAX_VALUE)
                                    .build())
                    .build();

    JsonDocument(JsonRecord record) {
        this.record = record;
    }

    /** Sets a row's first columns from what stands from a position on. */
    void readInto(GenericRowData row, byte[] message, int start) throws UndecodableException {
        checkText(message, start);
        try (JsonParser parser = factory.createParser(message, start, message.length - start)) {
            if (parser.nextToken() == null) {
                throw new UndecodableException("the value is not JSON");
            }
            record.readInto(row, parser);
            if (parser.nextToken() != null) {
                throw new UndecodableException("the value is not JSON");
            }
        } catch (UndecodableException e) {
            String fault = fault(message, start);
            throw fault == null ? e : new UndecodableException(fault);
        } catch (IOException | RuntimeException | StackOverflowError e) {
            String fault = fault(message, start);
            throw new UndecodableException(fault == null ? e.getClass().getSimpleName() : fault);
        }
    }

    private static void checkText(byte[] message, int start) throws UndecodableException {
        int length = message.length - start;
        if (length == 0) {
            throw new UndecodableException("empty value");
        }
        if (!Utf8Check.isValid(message, start, length)) {
            throw new UndecodableException("the value is not UTF-8");
        }
        if (length >= BOM.length && Arrays.equals(message, start, start + BOM.length, BOM, 0, BOM.length)) {
            throw new UndecodableException("the value begins with a byte order mark");
        }
        for (int i = start; i < Math.min(start + SNIFFED, message.length); i++) {
            if (message[i] == 0) { // by which the parser would take it for UTF-16
                throw new UndecodableException(tooDeep(message, start) ? TOO_DEEP : "the value is not JSON");
            }
        }
    }

    private static final String TOO_DEEP = "the value is nested more than " + MAX_DEPTH + " deep";

    /** What is wrong with the whole of a document; null if it is JSON. */
    private String fault(byte[] message, int start) {
        if (tooDeep(message, start)) {
            return TOO_DEEP;
        }
        try (JsonParser parser = factory.createParser(message, start, message.length - start)) {
            boolean one = parser.nextToken() != null;
            parser.skipChildren();
            return one && parser.nextToken() == null ? null : "the value is not JSON";
        } catch (JsonProcessingException e) {
            return "the value is not JSON";
        } catch (IOException e) {
            return e.getClass().getSimpleName();
        }
    }

    /** Whether brackets are nested too deep outside of texts, whether they are closed or not. */
    private static boolean tooDeep(byte[] message, int start) {
        int depth = 0;
        boolean inText = false;
        boolean escaped = false;
        for (int i = start; i < message.length; i++) {
            int c = message[i];
            if (inText) {
                inText = escaped || c != '"';
                escaped = !escaped && c == '\\';
            } else if (c == '"') {
                inText = true;
            } else if (c == '[' || c == '{') {
                depth++;
                if (depth > MAX_DEPTH) {
                    return true;
                }
            } else if (c == ']' || c == '}') {
                depth--;
            }
        }
        return false;
    }
}
