package kappa.flink;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.InetSocketAddress;
import java.util.List;
import org.apache.beam.model.pipeline.v1.Endpoints.ApiServiceDescriptor;
import org.apache.beam.sdk.fn.server.ServerFactory;
import org.apache.beam.vendor.grpc.v1p60p1.io.grpc.Server;
import org.junit.jupiter.api.Test;

/** Of Beam's own class, as it is on the class path: without the patch both tests fail. */
class LoopbackServersTest {

    @Test
    void serversForPythonWorkersListenOnLoopback() throws Exception {
        ApiServiceDescriptor.Builder told = ApiServiceDescriptor.newBuilder();
        assertLoopback(ServerFactory.createDefault().allocateAddressAndCreate(List.of(), told));
    }

    @Test
    void soDoThoseOfAnAddressThatIsAskedFor() throws Exception {
        ApiServiceDescriptor asked = ApiServiceDescriptor.newBuilder().setUrl("localhost:0").build();
        assertLoopback(ServerFactory.createDefault().create(List.of(), asked));
    }

    private static void assertLoopback(Server server) {
        try {
            assertFalse(server.getListenSockets().isEmpty());
            for (var socket : server.getListenSockets()) {
                assertTrue(((InetSocketAddress) socket).getAddress().isLoopbackAddress(), socket::toString);
            }
        } finally {
            server.shutdownNow();
        }
    }
}
