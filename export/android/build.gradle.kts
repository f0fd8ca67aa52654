// For the build.gradle.kts of your app's module; LiteRT comes from Google's Maven repository (google()).
android {
    defaultConfig {
        minSdk = 24
    }
    androidResources {
        noCompress += "tflite"
    }
}

dependencies {
    implementation("com.google.ai.edge.litert:litert:2.3.0")
}
