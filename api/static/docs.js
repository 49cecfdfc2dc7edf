// Starts Swagger UI on our own document. No validator, no server but this one.
"use strict";
SwaggerUIBundle({
  url: "/v1/openapi.json",
  dom_id: "#docs",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  filter: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
