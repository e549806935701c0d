// Style sheets travel inside the JavaScript, where nothing else takes out their comments and blanks.
module.exports = {
  module: {
    rules: [
      {
        test: /\.css$/,
        enforce: 'pre',
        use: [{ loader: 'builtin:lightningcss-loader', options: { minify: true } }]
      }
    ]
  }
};
