idf_component_register(SRCS "microphone.c" PRIV_REQUIRES edgeprune_network driver)
