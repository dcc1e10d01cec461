package kappa.format;

import java.io.IOException;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;

/** Passes over what a writer wrote and the reader does not want: types may be recursive, so their depth is bounded. */
@FunctionalInterface
interface Skipper {

    int MAX_DEPTH = 200;

    void skip(Body body, int depth) throws IOException;

    /** A reader of nothing. */
    default ValueReader asReader() {
        return body -> {
            skip(body, 0);
            return null;
        };
    }

    static Skipper of(Schema schema, Place place) {
        return of(schema, place, new IdentityHashMap<>());
    }

    private static Skipper of(Schema schema, Place place, Map<Schema, Skipper> known) {
        if (Resolution.isEmpty(schema)) {
            return (body, depth) -> {}; // records of empty records may be many: each twice in the next, and so on
        }
        return switch (schema.getType()) {
            case NULL -> (body, depth) -> {};
            case BOOLEAN -> (body, depth) -> body.skip(1);
            case INT, LONG, ENUM -> (body, depth) -> body.readLong(place);
            case FLOAT -> (body, depth) -> body.skip(Float.BYTES);
            case DOUBLE -> (body, depth) -> body.skip(Double.BYTES);
            case BYTES, STRING -> (body, depth) -> body.skip(body.readLength(place));
            case FIXED -> fixed(schema.getFixedSize());
            case ARRAY -> items(schema.getElementType(), false, place, known);
            case MAP -> items(schema.getValueType(), true, place, known);
            case UNION -> union(schema, place, known);
            case RECORD -> record(schema, place, known);
        };
    }

    private static Skipper fixed(int size) {
        return (body, depth) -> body.skip(size);
    }

    private static Skipper items(Schema inner, boolean keys, Place place, Map<Schema, Skipper> known) {
        Skipper item = of(inner, place, known);
        boolean empty = !keys && Resolution.isEmpty(inner);
        return (body, depth) -> {
            check(depth, place);
            for (int count = body.readCount(empty, place); count != 0; count = body.readCount(empty, place)) {
                for (int i = 0; i < count && !empty; i++) {
                    if (keys) {
                        body.skip(body.readLength(place));
                    }
                    item.skip(body, depth + 1);
                }
            }
        };
    }

    private static Skipper union(Schema schema, Place place, Map<Schema, Skipper> known) {
        List<Schema> types = schema.getTypes();
        Skipper[] branches = new Skipper[types.size()];
        for (int i = 0; i < branches.length; i++) {
            branches[i] = of(types.get(i), place, known);
        }
        return (body, depth) -> {
            check(depth, place);
            branches[Resolution.branch(body, branches.length, place)].skip(body, depth + 1);
        };
    }

    private static Skipper record(Schema schema, Place place, Map<Schema, Skipper> known) {
        Skipper found = known.get(schema);
        if (found != null) {
            return found;
        }
        Skipper[] fields = new Skipper[schema.getFields().size()];
        Skipper record =
                (body, depth) -> {
                    check(depth, place);
                    for (Skipper field : fields) {
                        field.skip(body, depth + 1);
                    }
                };
        known.put(schema, record); // before its fields: they may be of the same type
        for (int i = 0; i < fields.length; i++) {
            fields[i] = of(schema.getFields().get(i).schema(), place, known);
        }
        return record;
    }

    private static void check(int depth, Place place) throws UndecodableException {
        if (depth > MAX_DEPTH) {
            throw place.reject("nested deeper than " + MAX_DEPTH + " levels");
        }
    }
}
