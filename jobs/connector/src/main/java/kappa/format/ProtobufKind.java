package kappa.format;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;

/**
 * How one value is written, and what it is in a column.
 *
 * @param type its wire type
 * @param shape of a message; else null
 * @param missing what stands where nothing is written: zero, false, nothing
 */
record ProtobufKind(int type, ProtobufShape shape, ProtobufValue value, Object missing) {

    private static final String WRAPPED = "wrapped ";
    private static final Long ZERO = 0L;
    private static final int UNSIGNED_DIGITS = 20;
    private static final BigInteger BEYOND_64_BITS = BigInteger.ONE.shiftLeft(Long.SIZE);

    // 0001-01-01T00:00:00 and 9999-12-31T23:59:59: what Iceberg's readers, Python among them, have times for.
    private static final long FIRST_SECOND = -62_135_596_800L;
    private static final long LAST_SECOND = 253_402_300_799L;
    private static final int NANOS_OF_A_SECOND = 1_000_000_000;
    private static final int NANOS_OF_A_MILLISECOND = 1_000_000;
    private static final long MILLISECONDS = 1_000;

    /** @param name that of jobs/product/protobuf_columns.py */
    static ProtobufKind of(String name, Schema schema, JsonPlace place) {
        if (name.startsWith(WRAPPED)) {
            return wrapped(of(name.substring(WRAPPED.length()), schema, place));
        }
        return switch (name) {
            case "double" -> fixed64((value, bytes) -> Double.longBitsToDouble((Long) value));
            case "fixed64" -> fixed64((value, bytes) -> unsigned((Long) value));
            case "sfixed64" -> fixed64((value, bytes) -> value);
            case "float" -> fixed32((value, bytes) -> Float.intBitsToFloat(low((Long) value)));
            case "fixed32" -> fixed32((value, bytes) -> (Long) value & 0xffff_ffffL);
            case "sfixed32" -> fixed32((value, bytes) -> low((Long) value));
            case "int32" -> varint((value, bytes) -> low((Long) value));
            case "uint32" -> varint((value, bytes) -> (Long) value & 0xffff_ffffL);
            case "sint32" -> varint((value, bytes) -> low((Long) value) >>> 1 ^ -(low((Long) value) & 1));
            case "int64" -> varint((value, bytes) -> value);
            case "uint64" -> varint((value, bytes) -> unsigned((Long) value));
            case "sint64" -> varint((value, bytes) -> (Long) value >>> 1 ^ -((Long) value & 1));
            case "bool" -> varint((value, bytes) -> (Long) value != 0);
            case "enum" -> varint(symbols(schema, place));
            case "string" -> length((value, bytes) -> text((Long) value, bytes, place, "not UTF-8"));
            case "bytes" -> length((value, bytes) -> Arrays.copyOfRange(bytes, start((Long) value), end((Long) value)));
            case "timestamp" -> timestamp(place);
            case "message" -> message(schema, place);
            default -> throw new IllegalArgumentException("no kind of a field of Protobuf: " + name);
        };
    }

    /** An entry of a map: a message of key and value, which is a row. Its keys are text, whatever they were. */
    static ProtobufKind entry(String key, String value, Schema schema, JsonPlace place) {
        ProtobufKind written = of(key, null, place);
        ProtobufValue text =
                key.equals("string")
                        ? (found, bytes) -> text((Long) found, bytes, place, "a key is not UTF-8")
                        : (found, bytes) -> StringData.fromString(written.value.of(found, bytes).toString());
        ProtobufKind inner = of(value, schema, place.values());
        ProtobufValue row =
                (found, bytes) -> {
                    Object[] entry = (Object[]) found;
                    return GenericRowData.of(
                            text.of(entry[0] == null ? written.missing : entry[0], bytes),
                            inner.value.of(entry[1] == null ? inner.missing : entry[1], bytes));
                };
        return ofFields(row, written, inner);
    }

    private static ProtobufKind wrapped(ProtobufKind inner) {
        return ofFields(
                (found, bytes) -> {
                    Object value = ((Object[]) found)[0];
                    return inner.value.of(value == null ? inner.missing : value, bytes);
                },
                inner);
    }

    private static ProtobufKind timestamp(JsonPlace place) {
        ProtobufKind number = varint((value, bytes) -> value);
        return ofFields(
                (found, bytes) -> {
                    Object[] parts = (Object[]) found;
                    long seconds = parts[0] == null ? 0 : (Long) parts[0];
                    int nanos = parts[1] == null ? 0 : low((Long) parts[1]);
                    if (seconds < FIRST_SECOND || seconds > LAST_SECOND) {
                        throw place.reject("second " + seconds + " is not within the years 0001 to 9999");
                    }
                    if (nanos < 0 || nanos >= NANOS_OF_A_SECOND) {
                        throw place.reject(nanos + " nanoseconds are not within a second");
                    }
                    return TimestampData.fromEpochMillis(
                            seconds * MILLISECONDS + nanos / NANOS_OF_A_MILLISECOND, nanos % NANOS_OF_A_MILLISECOND);
                },
                number,
                number);
    }

    private static ProtobufKind message(Schema schema, JsonPlace place) {
        ProtobufMessage message = new ProtobufMessage(schema, place);
        return new ProtobufKind(
                ProtobufBytes.LENGTH,
                message.shape(),
                (value, bytes) -> message.row((Object[]) value, bytes),
                message.shape().nothing());
    }

    /** A message whose fields are numbered from 1 on. */
    private static ProtobufKind ofFields(ProtobufValue value, ProtobufKind... kinds) {
        ProtobufShape.Field[] fields = new ProtobufShape.Field[kinds.length];
        for (int i = 0; i < kinds.length; i++) {
            fields[i] = new ProtobufShape.Field(i + 1, kinds[i].type, false, ProtobufShape.NO_ONEOF, kinds[i].shape);
        }
        ProtobufShape shape = new ProtobufShape(List.of(fields));
        return new ProtobufKind(ProtobufBytes.LENGTH, shape, value, shape.nothing());
    }

    private static ProtobufKind varint(ProtobufValue value) {
        return new ProtobufKind(ProtobufBytes.VARINT, null, value, ZERO);
    }

    private static ProtobufKind fixed32(ProtobufValue value) {
        return new ProtobufKind(ProtobufBytes.FIXED_32, null, value, ZERO);
    }

    private static ProtobufKind fixed64(ProtobufValue value) {
        return new ProtobufKind(ProtobufBytes.FIXED_64, null, value, ZERO);
    }

    private static ProtobufKind length(ProtobufValue value) {
        return new ProtobufKind(ProtobufBytes.LENGTH, null, value, ZERO);
    }

    private static int low(long bits) {
        return (int) bits;
    }

    private static int start(long place) {
        return (int) (place >>> Integer.SIZE);
    }

    private static int end(long place) {
        return start(place) + (int) place;
    }

    private static DecimalData unsigned(long bits) {
        BigInteger value = BigInteger.valueOf(bits);
        return DecimalData.fromBigDecimal(
                new BigDecimal(bits < 0 ? value.add(BEYOND_64_BITS) : value), UNSIGNED_DIGITS, 0);
    }

    private static StringData text(long at, byte[] bytes, JsonPlace place, String why) throws UndecodableException {
        int start = start(at);
        int length = (int) at;
        if (!Utf8Check.isValid(bytes, start, length)) {
            throw place.reject(why);
        }
        return StringData.fromBytes(bytes, start, length);
    }

    /** The names of an enum's numbers. */
    private static ProtobufValue symbols(Schema schema, JsonPlace place) {
        List<?> numbers = (List<?>) schema.getObjectProp("numbers");
        Map<Object, StringData> names = new HashMap<>();
        for (int i = 0; i < numbers.size(); i++) {
            byte[] name = schema.getEnumSymbols().get(i).getBytes(StandardCharsets.UTF_8);
            names.put(numbers.get(i), StringData.fromBytes(name));
        }
        return (value, bytes) -> {
            StringData name = names.get(low((Long) value));
            if (name == null) {
                throw place.reject(low((Long) value) + " is no number of " + schema.getProp("of"));
            }
            return name;
        };
    }
}
