SUMMARY = "Credential gateway for IoT devices: OAuth 2.0 client credentials over MQTT, tokens checked offline"
LICENSE = "Apache-2.0 | MIT"
LIC_FILES_CHKSUM = "file://LICENSE-APACHE;md5=22a53954e4e0ec258dfce4391e905dac file://LICENSE-MIT;md5=7647c3c3f392b327569b808fe8cad305"

# Where the repository is, for example "git:///srv/git/credgate;protocol=file;branch=main", and the revision to build: set both in local.conf or in a .bbappend.
CREDGATE_SRC_URI ?= "git:///srv/git/credgate;protocol=file;branch=main"
SRC_URI = "${CREDGATE_SRC_URI}"
SRCREV ?= "${AUTOREV}"
S = "${WORKDIR}/git"

# The crates, pinned by Cargo.lock: `bitbake -c update_crates credgate` writes this file.
include credgate-crates.inc

inherit cargo cargo-update-recipe-crates systemd useradd

# ring's C code is compiled by the cross compiler of the build. rustc must be 1.88 or newer.
CARGO_BUILD_FLAGS += "--locked"
# For a host with a broker of its own: PACKAGECONFIG = "commands"; with none of them it is the gateway alone (docs/building.md).
PACKAGECONFIG ??= "commands embedded-broker http"
PACKAGECONFIG[commands] = ""
PACKAGECONFIG[embedded-broker] = ""
PACKAGECONFIG[http] = ""
CARGO_BUILD_FLAGS += "--no-default-features --features daemon,${@','.join(d.getVar('PACKAGECONFIG').split()) or 'daemon'}"

SYSTEMD_SERVICE:${PN} = "credgate.service"
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system credgate"
USERADD_PARAM:${PN} = "--system --no-create-home --home-dir /var/lib/credgate --shell /sbin/nologin --gid credgate credgate"

do_install:append() {
    install -d ${D}${sysconfdir}/credgate ${D}${systemd_system_unitdir}
    install -m 0644 ${S}/config/credgate.toml ${D}${sysconfdir}/credgate/credgate.toml
    install -m 0644 ${S}/systemd/credgate.service ${D}${systemd_system_unitdir}/credgate.service
}

CONFFILES:${PN} = "${sysconfdir}/credgate/credgate.toml"
