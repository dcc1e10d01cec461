package kappa.format;

/** Where a value stands in a record, for reasons: {@code items[].price}, of the records of a schema id. */
record Place(String path, int schemaId) {

    static Place top(int schemaId) {
        return new Place("", schemaId);
    }

    Place field(String name) {
        return new Place(path.isEmpty() ? name : path + "." + name, schemaId);
    }

    Place items() {
        return new Place(path + "[]", schemaId);
    }

    Place values() {
        return new Place(path + "{}", schemaId);
    }

    Place branch(String name) {
        return new Place(path + "<" + name + ">", schemaId);
    }

    UndecodableException reject(String why) {
        String where = path.isEmpty() ? "the record" : "field " + path;
        return new UndecodableException(where + ": " + why + " (schema id " + schemaId + ")");
    }
}
