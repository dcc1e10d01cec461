package kappa.lake;

import java.util.HashMap;
import java.util.Map;
import kappa.secrets.SecretFiles;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.flink.CatalogLoader;

/** Opens a catalog some of whose options name files of secrets: they are read where it is opened. */
final class SecretCatalogLoader implements CatalogLoader {

    private static final long serialVersionUID = 1L;

    private final String name;
    private final HashMap<String, String> options;

    SecretCatalogLoader(String name, Map<String, String> options) {
        this.name = name;
        this.options = new HashMap<>(options);
    }

    @Override
    public Catalog loadCatalog() {
        return LakeTableFactory.catalog(name, SecretFiles.resolve(options)).loadCatalog();
    }

    @Override
    public CatalogLoader clone() {
        return new SecretCatalogLoader(name, options);
    }
}
