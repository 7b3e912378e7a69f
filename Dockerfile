# syntax=docker/dockerfile:1
# One program and the C library: no shell, no package manager, an unprivileged user.
# Mount the configuration at /etc/respgate/respgate.toml.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin respgate

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/target/release/respgate /usr/local/bin/respgate
USER 65532:65532
EXPOSE 9465
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/respgate"]
CMD ["run", "--config", "/etc/respgate/respgate.toml"]
