# syntax=docker/dockerfile:1
# One program and the C library: no shell, no package manager, an unprivileged user.
# Mount the configuration at /etc/respgate/respgate.toml. deploy/docs/image.md says how to build, check and sign it.
ARG BUILD_IMAGE=rust:1.95.0-bookworm
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

# Runs on the builder's own processor, and compiles for that of the image.
FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
ARG TARGETARCH
ARG REVISION=unknown
ARG SOURCE_DATE_EPOCH
WORKDIR /source
COPY . .
RUN RESPGATE_REVISION="$REVISION" SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" deploy/release/build.sh /made "$TARGETARCH"

# docker build --target sbom --output type=local,dest=. .
FROM scratch AS sbom
COPY --from=build /made/respgate.cdx.json /

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
ARG REVISION=unknown
LABEL org.opencontainers.image.title="respgate" \
      org.opencontainers.image.description="Sidecar proxy: plain RESP in, policy, mutual TLS to Redis or Valkey out" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="$BASE_IMAGE"
COPY --from=build /made/respgate /usr/local/bin/respgate
COPY --from=build /made/respgate.cdx.json /source/LICENSE /usr/share/doc/respgate/
USER 65532:65532
EXPOSE 9465
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/respgate"]
CMD ["run", "--config", "/etc/respgate/respgate.toml"]
