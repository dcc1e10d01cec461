package kappa.format;

import java.io.IOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Set;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.Schema.Type;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;

/** Readers of values that hold no other values: numbers, texts, bytes, and what logical types make of them. */
final class Leaves {

    private static final Set<AvroType> TIMES = Set.of(AvroType.TIME_MILLIS, AvroType.TIME_MICROS);
    private static final Set<AvroType> INSTANTS =
            Set.of(AvroType.TIMESTAMP_MILLIS, AvroType.TIMESTAMP_MICROS, AvroType.TIMESTAMP_NANOS);
    private static final Set<AvroType> LOCAL_TIMES =
            Set.of(
                    AvroType.LOCAL_TIMESTAMP_MILLIS,
                    AvroType.LOCAL_TIMESTAMP_MICROS,
                    AvroType.LOCAL_TIMESTAMP_NANOS);

    // 0001-01-01 and 9999-12-31: what Iceberg's readers, Python among them, have dates for.
    private static final long FIRST_DAY = -719_162;
    private static final long LAST_DAY = 2_932_896;
    private static final long SECONDS_OF_A_DAY = 86_400;
    private static final long NANOS_OF_A_SECOND = 1_000_000_000;
    private static final int LONGEST_DECIMAL = 16; // bytes of 38 digits
    private static final int MAX_COMPACT_PRECISION = 18;

    private Leaves() {}

    /** Whether Avro reads the one type as the other. */
    static boolean isPromotion(Type from, Type to) {
        return switch (from) {
            case INT -> to == Type.LONG || to == Type.FLOAT || to == Type.DOUBLE;
            case LONG -> to == Type.FLOAT || to == Type.DOUBLE;
            case FLOAT -> to == Type.DOUBLE;
            case STRING -> to == Type.BYTES;
            case BYTES -> to == Type.STRING;
            default -> false;
        };
    }

    /** Null when the writer's is not the reader's. */
    static ValueReader of(Schema writer, Schema reader, Place place) {
        Type from = writer.getType();
        if (from != reader.getType() && !isPromotion(from, reader.getType())) {
            return null;
        }
        return switch (reader.getType()) {
            case NULL -> body -> null;
            case BOOLEAN -> body -> body.readBoolean(place);
            case INT, LONG -> whole(writer, reader, place);
            case FLOAT -> real(from, true, place);
            case DOUBLE -> real(from, false, place);
            case STRING -> AvroType.of(writer) == AvroType.DECIMAL ? null : body -> body.readString(place);
            case BYTES, FIXED -> bytes(writer, reader, place);
            default -> null;
        };
    }

    /** The symbol that was written, if the reader has it, else the reader's default. */
    static ValueReader ofEnum(Schema writer, Schema reader, Place place) {
        List<String> symbols = writer.getEnumSymbols();
        StringData[] known = new StringData[symbols.size()];
        for (int i = 0; i < known.length; i++) {
            String symbol = reader.hasEnumSymbol(symbols.get(i)) ? symbols.get(i) : reader.getEnumDefault();
            known[i] = symbol == null ? null : StringData.fromBytes(symbol.getBytes(StandardCharsets.UTF_8));
        }
        return body -> {
            long index = body.readLong(place);
            if (index < 0 || index >= known.length) {
                throw place.reject("no symbol " + index + " of the enum " + writer.getFullName());
            }
            StringData symbol = known[(int) index];
            if (symbol == null) {
                throw place.reject(
                        String.format(
                                "symbol '%s' is not in the enum %s, which has no default",
                                symbols.get((int) index), reader.getFullName()));
            }
            return symbol;
        };
    }

    private static ValueReader whole(Schema writer, Schema reader, Place place) {
        AvroType written = AvroType.of(writer);
        AvroType wanted = AvroType.of(reader);
        boolean isInt = writer.getType() == Type.INT;
        if (wanted == AvroType.NONE) {
            if (reader.getType() == Type.INT) {
                return body -> body.readInt(place);
            }
            return isInt ? body -> (long) body.readInt(place) : body -> body.readLong(place);
        }
        AvroType unit = written == AvroType.NONE ? wanted : written;
        if (unit != wanted && !isFiner(unit, wanted)) {
            return null;
        }
        Number number = isInt ? body -> body.readInt(place) : body -> body.readLong(place);
        if (wanted == AvroType.DATE) {
            return body -> (int) within(number.read(body), FIRST_DAY, LAST_DAY, "the years 0001 to 9999", unit, place);
        }
        if (TIMES.contains(wanted)) {
            long units = perSecond(unit);
            long factor = perSecond(wanted) / units;
            long last = SECONDS_OF_A_DAY * units - 1;
            if (wanted == AvroType.TIME_MILLIS) {
                return body -> (int) within(number.read(body), 0, last, "a day", unit, place);
            }
            return body -> within(number.read(body), 0, last, "a day", unit, place) * factor;
        }
        return timestamp(number, unit, place);
    }

    /** Whether values of a unit are exact in another, which is finer. */
    private static boolean isFiner(AvroType unit, AvroType other) {
        for (Set<AvroType> family : List.of(TIMES, INSTANTS, LOCAL_TIMES)) {
            if (family.contains(unit) && family.contains(other)) {
                return perSecond(unit) < perSecond(other);
            }
        }
        return false;
    }

    private static long perSecond(AvroType unit) {
        return switch (unit) {
            case TIME_MILLIS, TIMESTAMP_MILLIS, LOCAL_TIMESTAMP_MILLIS -> 1_000;
            case TIME_MICROS, TIMESTAMP_MICROS, LOCAL_TIMESTAMP_MICROS -> 1_000_000;
            default -> NANOS_OF_A_SECOND;
        };
    }

    private static ValueReader timestamp(Number number, AvroType unit, Place place) {
        long units = perSecond(unit);
        long unitsOfAMilli = units / 1_000;
        int nanosOfAUnit = (int) (NANOS_OF_A_SECOND / units);
        boolean isNanos = units == NANOS_OF_A_SECOND; // which 64 bits hold from 1677 to 2262
        long first = isNanos ? Long.MIN_VALUE : FIRST_DAY * SECONDS_OF_A_DAY * units;
        long last = isNanos ? Long.MAX_VALUE : (LAST_DAY + 1) * SECONDS_OF_A_DAY * units - 1;
        return body -> {
            long value = within(number.read(body), first, last, "the years 0001 to 9999", unit, place);
            int rest = (int) Math.floorMod(value, unitsOfAMilli);
            return TimestampData.fromEpochMillis(Math.floorDiv(value, unitsOfAMilli), rest * nanosOfAUnit);
        };
    }

    private static long within(long value, long first, long last, String what, AvroType unit, Place place)
            throws UndecodableException {
        if (value < first || value > last) {
            throw place.reject(unit.text() + " " + value + " is not within " + what);
        }
        return value;
    }

    private static ValueReader real(Type from, boolean isFloat, Place place) {
        return switch (from) {
            case INT, LONG -> exact(from == Type.INT, isFloat, place);
            case FLOAT ->
                    isFloat
                            ? body -> Float.intBitsToFloat(body.readFourBytes())
                            : body -> (double) Float.intBitsToFloat(body.readFourBytes());
            default -> body -> Double.longBitsToDouble(body.readEightBytes());
        };
    }

    /** A whole number as a float or a double, if that has all of its digits. */
    private static ValueReader exact(boolean isInt, boolean isFloat, Place place) {
        return body -> {
            long value = isInt ? body.readInt(place) : body.readLong(place);
            double real = isFloat ? (float) value : (double) value;
            if ((long) real != value || value == Long.MAX_VALUE) { // to which a cast of 2^63 comes down
                throw place.reject(value + " has more digits than a " + (isFloat ? "float" : "double"));
            }
            if (isFloat) {
                return (float) value;
            }
            return real;
        };
    }

    private static ValueReader bytes(Schema writer, Schema reader, Place place) {
        AvroType wanted = AvroType.of(reader);
        AvroType written = AvroType.of(writer);
        boolean isFixed = reader.getType() == Type.FIXED;
        if (isFixed && writer.getFixedSize() != reader.getFixedSize()
                || wanted != AvroType.NONE && written != AvroType.NONE && written != wanted
                || wanted == AvroType.DECIMAL && writer.getType() == Type.STRING) {
            return null;
        }
        int size = isFixed ? reader.getFixedSize() : 0;
        Bytes bytes = isFixed ? body -> body.readBytes(size) : body -> body.readBytes(body.readLength(place));
        return switch (wanted) {
            case DECIMAL -> decimal(bytes, writer, reader, place);
            case UUID -> body -> uuid(bytes.read(body));
            default -> bytes::read;
        };
    }

    /** Null where the writer's decimals have digits behind the point that the reader's have not. */
    private static ValueReader decimal(Bytes bytes, Schema writer, Schema reader, Place place) {
        int precision = AvroType.precision(reader);
        int scale = AvroType.scale(reader);
        int written = AvroType.of(writer) == AvroType.DECIMAL ? AvroType.scale(writer) : scale;
        if (written > scale) {
            return null;
        }
        boolean compact = written == scale && precision <= MAX_COMPACT_PRECISION;
        long most = compact ? BigInteger.TEN.pow(precision).longValue() - 1 : 0;
        return body -> {
            byte[] unscaled = bytes.read(body);
            if (compact && unscaled.length <= Long.BYTES) {
                long value = number(unscaled);
                if (-most <= value && value <= most) {
                    return DecimalData.fromUnscaledLong(value, precision, scale);
                }
            }
            return large(unscaled, written, precision, scale, place);
        };
    }

    /** Big-endian, in two's complement; no bytes are zero. */
    private static long number(byte[] bytes) {
        long value = bytes.length > 0 && bytes[0] < 0 ? -1 : 0;
        for (byte b : bytes) {
            value = value << 8 | b & 0xff;
        }
        return value;
    }

    private static DecimalData large(byte[] unscaled, int written, int precision, int scale, Place place)
            throws UndecodableException {
        int start = significant(unscaled);
        int length = unscaled.length - start;
        String type = String.format("decimal(%d, %d)", precision, scale);
        if (length > LONGEST_DECIMAL) {
            throw place.reject("a number of " + length + " bytes does not fit " + type);
        }
        BigInteger number = length == 0 ? BigInteger.ZERO : new BigInteger(unscaled, start, length);
        BigDecimal value = new BigDecimal(number, written);
        DecimalData found = DecimalData.fromBigDecimal(value.setScale(scale), precision, scale);
        if (found == null) {
            throw place.reject(value.toPlainString() + " does not fit " + type);
        }
        return found;
    }

    /** Where a number begins behind bytes that only repeat its sign. */
    private static int significant(byte[] bytes) {
        int start = 0;
        while (start < bytes.length - 1
                && (bytes[start] == 0 && bytes[start + 1] >= 0 || bytes[start] == -1 && bytes[start + 1] < 0)) {
            start++;
        }
        return start;
    }

    private static StringData uuid(byte[] bytes) {
        StringBuilder text = new StringBuilder(36);
        for (int i = 0; i < bytes.length; i++) {
            if (i == 4 || i == 6 || i == 8 || i == 10) {
                text.append('-');
            }
            text.append(Character.forDigit(bytes[i] >> 4 & 0xf, 16)).append(Character.forDigit(bytes[i] & 0xf, 16));
        }
        return StringData.fromBytes(text.toString().getBytes(StandardCharsets.ISO_8859_1));
    }

    private interface Number {
        long read(Body body) throws IOException;
    }

    private interface Bytes {
        byte[] read(Body body) throws IOException;
    }
}
