# What is pure (templates, flags, tables) is a library, for the unit tests.
noinst_LIBRARIES += libcli.a
libcli_a_SOURCES = \
	src/cli/render.c src/cli/render.h src/cli/table.c \
	src/cli/flags.c src/cli/flags.h \
	src/cli/template.h src/cli/template_priv.h src/cli/template_parse.c src/cli/template_run.c src/cli/template_fn.c \
	src/cli/spec.c src/cli/spec_port.c src/cli/spec.h \
	src/cli/demux.c src/cli/stream.h \
	src/cli/create.c src/cli/create_net.c src/cli/create.h

bin_PROGRAMS += kedge
kedge_SOURCES = \
	src/cli/main.c src/cli/cli.h \
	src/cli/client.c src/cli/format.c src/cli/stream.c \
	src/cli/cmd_run.c src/cli/cmd_container.c src/cli/cmd_list.c src/cli/cmd_stream.c src/cli/cmd_inspect.c src/cli/cmd_image.c \
	src/cli/cmd_dns.c src/cli/cmd_net.c src/cli/net_get.c src/cli/net.h \
	src/cli/cmd_network.c src/cli/cmd_network_edit.c src/cli/cmd_volume.c src/cli/cmd_system.c src/cli/cmd_stats.c \
	src/cli/cmd_registry.c src/cli/registry.c src/cli/registry.h \
	src/cli/cmd_exec.c \
	src/cli/cmd_update.c \
	src/cli/cmd_prune.c \
	src/cli/cmd_build.c src/cli/buildctx.c src/cli/buildctx.h \
	src/cli/cmd_cp.c src/cli/localtar.c src/cli/localtar.h
kedge_LDADD = libcli.a libhttp.a libloop.a libbase.a $(ARCHIVE_LIBS) $(EVENT_LIBS) $(HTTP_PARSER_LIBS) $(JANSSON_LIBS)
dist_man_MANS += src/cli/kedge.1
