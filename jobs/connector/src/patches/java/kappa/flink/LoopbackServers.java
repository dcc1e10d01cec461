package kappa.flink;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import org.apache.beam.vendor.grpc.v1p60p1.io.grpc.netty.NettyServerBuilder;

/** Where the servers for Python workers listen: takes the place of a call in Beam's {@code ServerFactory}. */
public final class LoopbackServers {

    private LoopbackServers() {}

    /**
     * A server for this machine only.
     *
     * <p>A TaskManager has half a dozen of them, without authentication, for the Python workers that it starts itself.
     * Beam tells the workers the loopback address, and then listens on every address of the machine.
     *
     * @param port 0 for one that is free
     */
    public static NettyServerBuilder forPort(int port) {
        return NettyServerBuilder.forAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
    }
}
