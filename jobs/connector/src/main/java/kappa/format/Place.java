package kappa.format;

/** Where a value stands in a record, for reasons: {@code items[].price}, of the records of {@code schema id 7}. */
record Place(String path, String written) {

    static Place top(String written) {
        return new Place("", written);
    }

    Place field(String name) {
        return new Place(path.isEmpty() ? name : path + "." + name, written);
    }

    Place items() {
        return new Place(path + "[]", written);
    }

    Place values() {
        return new Place(path + "{}", written);
    }

    Place branch(String name) {
        return new Place(path + "<" + name + ">", written);
    }

    UndecodableException reject(String why) {
        String where = path.isEmpty() ? "the record" : "field " + path;
        return new UndecodableException(where + ": " + why + " (" + written + ")");
    }
}
