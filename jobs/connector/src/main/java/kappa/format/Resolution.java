package kappa.format;

import java.io.IOException;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.Schema.Type;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;

/**
 * What reads a value of a writer's schema as one of a reader's: Avro's schema resolution, with its defaults, aliases,
 * promotions and unions.
 *
 * <p>Stricter than Avro's own where that would give another value than the producer meant:
 *
 * <ul>
 *   <li>Different logical types match only where the reader's is finer and exact: microseconds are no milliseconds.
 *   <li>A promotion that loses digits is a reject: 2^53 + 1 is no double.
 *   <li>Where a union has several records, their names decide, never their structure.
 * </ul>
 *
 * {@code replay/kafka/decoding.py} does the same in Python, apart from this.
 */
final class Resolution {

    private final ReaderSchema defaults;

    private Resolution(ReaderSchema defaults) {
        this.defaults = defaults;
    }

    /** Reads records of a writer's schema, which reasons call {@code written}, such as {@code schema id 7}. */
    static RecordReader of(Schema writer, ReaderSchema reader, String written) throws UndecodableException {
        if (writer.getType() != Type.RECORD) {
            throw new UndecodableException(written + " is of type " + AvroType.describe(writer) + ", not a record");
        }
        if (AvroType.depth(writer) > AvroType.MAX_DEPTH) {
            throw new UndecodableException(written + " has types nested deeper than " + AvroType.MAX_DEPTH);
        }
        return new Resolution(reader).record(writer, reader.schema(), Place.top(written));
    }

    /** @param alone whether no union of the writer has another record here, which only names would tell apart */
    private ValueReader resolve(Schema writer, Schema reader, Place place, boolean alone) {
        if (writer.getType() == Type.UNION) {
            return ofWriterUnion(writer, reader, place);
        }
        if (reader.getType() == Type.UNION) {
            return ofReaderUnion(writer, reader, place, alone);
        }
        boolean same = writer.getType() == reader.getType();
        boolean named = same && isNamed(writer.getType());
        if (named && !sameName(writer, reader) && !(writer.getType() == Type.RECORD && alone)) {
            return mismatch(writer, reader, place);
        }
        return switch (reader.getType()) {
            case RECORD -> same ? record(writer, reader, place) : mismatch(writer, reader, place);
            case ARRAY -> same ? array(writer, reader, place) : mismatch(writer, reader, place);
            case MAP -> same ? map(writer, reader, place) : mismatch(writer, reader, place);
            case ENUM -> same ? Leaves.ofEnum(writer, reader, place) : mismatch(writer, reader, place);
            default -> {
                ValueReader leaf = Leaves.of(writer, reader, place);
                yield leaf != null ? leaf : mismatch(writer, reader, place);
            }
        };
    }

    private static ValueReader mismatch(Schema writer, Schema reader, Place place) {
        return reject(place, "written as " + AvroType.describe(writer) + ", read as " + AvroType.describe(reader));
    }

    private static ValueReader reject(Place place, String why) {
        UndecodableException reject = place.reject(why);
        return body -> {
            throw reject;
        };
    }

    private ValueReader ofWriterUnion(Schema writer, Schema reader, Place place) {
        List<Schema> types = writer.getTypes();
        boolean alone = records(writer) <= 1;
        ValueReader[] branches = new ValueReader[types.size()];
        for (int i = 0; i < branches.length; i++) {
            branches[i] = resolve(types.get(i), reader, place, alone);
        }
        return body -> branches[branch(body, branches.length, place)].read(body);
    }

    private ValueReader ofReaderUnion(Schema writer, Schema reader, Place place, boolean alone) {
        if (writer.getType() == Type.NULL) {
            boolean nullable = reader.getTypes().stream().anyMatch(branch -> branch.getType() == Type.NULL);
            return nullable ? body -> null : mismatch(writer, reader, place);
        }
        List<Schema> branches = AvroType.branches(reader);
        int index = matching(writer, branches, alone && records(reader) <= 1);
        if (index < 0) {
            return mismatch(writer, reader, place);
        }
        Schema branch = branches.get(index);
        if (branches.size() == 1) {
            return resolve(writer, branch, place, alone);
        }
        ValueReader value = resolve(writer, branch, place.branch(branch.getName()), alone && records(reader) <= 1);
        return Containers.rowOfBranch(value, index, branches.size());
    }

    /** The branch that a type is read as: the same type, by name if it has one, else the first it is promoted to. */
    private static int matching(Schema writer, List<Schema> branches, boolean alone) {
        for (int i = 0; i < branches.size(); i++) {
            Schema branch = branches.get(i);
            boolean named = isNamed(writer.getType());
            if (branch.getType() == writer.getType() && (!named || branch.getFullName().equals(writer.getFullName()))) {
                return i;
            }
        }
        for (int i = 0; i < branches.size(); i++) {
            Schema branch = branches.get(i);
            if (branch.getType() == writer.getType()
                    && (sameName(writer, branch) || alone && writer.getType() == Type.RECORD)) {
                return i;
            }
        }
        for (int i = 0; i < branches.size(); i++) {
            if (Leaves.isPromotion(writer.getType(), branches.get(i).getType())) {
                return i;
            }
        }
        return -1;
    }

    private static long records(Schema union) {
        return union.getTypes().stream().filter(branch -> branch.getType() == Type.RECORD).count();
    }

    private static boolean isNamed(Type type) {
        return type == Type.RECORD || type == Type.ENUM || type == Type.FIXED;
    }

    /** As the specification has it: by the name without its namespace, or by an alias of the reader's type. */
    private static boolean sameName(Schema writer, Schema reader) {
        return writer.getName().equals(reader.getName()) || reader.getAliases().contains(writer.getFullName());
    }

    private ValueReader array(Schema writer, Schema reader, Place place) {
        Schema written = writer.getElementType();
        ValueReader item = resolve(written, reader.getElementType(), place.items(), true);
        return Containers.array(item, isEmpty(written), place);
    }

    private ValueReader map(Schema writer, Schema reader, Place place) {
        return Containers.map(resolve(writer.getValueType(), reader.getValueType(), place.values(), true), place);
    }

    private RecordReader record(Schema writer, Schema reader, Place place) {
        List<Schema.Field> written = writer.getFields();
        ValueReader[] fields = new ValueReader[written.size()];
        int[] columns = new int[written.size()];
        Set<Integer> found = new HashSet<>();
        ValueReader problem = null;
        for (int i = 0; i < fields.length; i++) {
            Schema.Field field = written.get(i);
            Schema.Field wanted = readerField(field, writer, reader);
            columns[i] = wanted == null ? -1 : wanted.pos();
            fields[i] =
                    wanted == null
                            ? Skipper.of(field.schema(), place.field(field.name())).asReader()
                            : resolve(field.schema(), wanted.schema(), place.field(wanted.name()), true);
            if (wanted != null && !found.add(wanted.pos()) && problem == null) {
                problem = reject(place.field(wanted.name()), "several of its aliases are in the writer's schema");
            }
        }
        Object[] values = new Object[reader.getFields().size()];
        for (Schema.Field field : reader.getFields()) {
            if (!found.contains(field.pos()) && problem == null) {
                try {
                    values[field.pos()] = ofDefault(field, place.field(field.name()));
                } catch (UndecodableException e) {
                    problem = body -> { throw e; };
                }
            }
        }
        return new RecordReader(problem, fields, columns, values);
    }

    /** The reader's field of a writer's: of the same name, else of that alias if the writer has none of its name. */
    private static Schema.Field readerField(Schema.Field written, Schema writer, Schema reader) {
        Schema.Field same = reader.getField(written.name());
        if (same != null) {
            return same;
        }
        for (Schema.Field field : reader.getFields()) {
            if (field.aliases().contains(written.name()) && writer.getField(field.name()) == null) {
                return field;
            }
        }
        return null;
    }

    /** Encoded as a producer would write it, and read as that is. */
    private Object ofDefault(Schema.Field field, Place place) throws UndecodableException {
        JsonNode value = defaults.defaultOf(field);
        if (value == null) {
            throw place.reject("not in the writer's schema, and without a default");
        }
        byte[] encoded = new Default(defaults).encode(field.schema(), value);
        if (encoded == null) {
            throw place.reject("the default is not of its type");
        }
        Body body = new Body();
        body.reset(encoded, 0);
        try {
            return resolve(field.schema(), field.schema(), place, true).read(body);
        } catch (UndecodableException e) {
            throw e;
        } catch (IOException e) {
            throw new IllegalStateException("a default ends before its end", e);
        }
    }

    static int branch(Body body, int branches, Place place) throws IOException {
        long index = body.readLong(place);
        if (index < 0 || index >= branches) {
            throw place.reject("no branch " + index + " of the union");
        }
        return (int) index;
    }

    /** Whether values of a type take no bytes. */
    static boolean isEmpty(Schema schema) {
        return isEmpty(schema, new IdentityHashMap<>());
    }

    private static boolean isEmpty(Schema schema, Map<Schema, Boolean> known) {
        if (schema.getType() != Type.RECORD) {
            return schema.getType() == Type.NULL || schema.getType() == Type.FIXED && schema.getFixedSize() == 0;
        }
        Boolean found = known.get(schema);
        if (found == null) {
            known.put(schema, false); // as long as it is looked at: one that contains itself has no end
            found = schema.getFields().stream().allMatch(field -> isEmpty(field.schema(), known));
            known.put(schema, found);
        }
        return found;
    }
}
